"""The files of descriptors that were hits before: a search that finds them again needs no look into the catalog."""

from __future__ import annotations

import functools
import itertools
import operator
import time

import numpy as np
from numpy.typing import NDArray

from tfvlad.index.catalog.reading import Ids, Snapshot, Version
from tfvlad.index.hits import Hit, best_hits, full_path, locate
from tfvlad.index.roots import Root

# Descriptors whose files are remembered, at most: some 35 MB. A power of two.
_SLOTS = 1 << 17

# For so long a root's folder is believed to be where it was.
_SECONDS = 1.0

# Hit(*values) for a tuple of values, at half the cost.
_make_hit = functools.partial(tuple.__new__, Hit)


class RememberedFiles:
    """The files of descriptors, remembered while the catalog and its folders stay as they are. Not thread-safe.

    Arrays, with a slot for each descriptor modulo their length, as a search is to take no longer for its files than for
    its graph: what a dictionary spreads over memory, these fetch in one go.
    """

    def __init__(self, index_folder: str) -> None:
        self._index_folder = index_folder
        self._version: Version | None = None
        self._roots: list[Root] = []
        self._folders: dict[int, str] = {}
        self._located = -_SECONDS
        self._vacant = np.arange(1, _SLOTS + 1)  # none of them is in its own slot
        self._descriptors = np.empty(_SLOTS, np.int64)
        self._files = np.empty(_SLOTS, np.int64)  # the first file of each
        self._paths = np.empty(_SLOTS, object)  # its full path
        self._copies: dict[int, list[tuple[str, int]]] = {}  # by the first file: (full path, id) of the others
        self._forget()

    def recall(self, version: Version, scores: NDArray[np.float32], descriptors: Ids, k: int) -> list[list[Hit]] | None:
        """Like `hits`, where the catalog has this version; None where something is not remembered."""
        if version != self._version:
            return None
        self._locate()
        wanted = descriptors.ravel()
        slots = wanted & (_SLOTS - 1)
        if self._descriptors.take(slots).tobytes() != wanted.tobytes():
            return None
        return self._hits(scores, self._files.take(slots), self._paths.take(slots), k)

    def hits(self, snapshot: Snapshot, scores: NDArray[np.float32], descriptors: Ids, k: int) -> list[list[Hit]] | None:
        """The k best files of each query.

        Args:
          snapshot: where the descriptors are.
          scores: (q, n) float32, best first; n is at most k.
          descriptors: (q, n) int64, in each row different ones.
          k: files.

        Returns:
          q lists; None where a descriptor is not the only one of its image, so that others may score higher.
        """
        self._follow(snapshot)
        wanted = descriptors.ravel()
        slots = wanted & (_SLOTS - 1)
        files, paths = self._files.take(slots), self._paths.take(slots)
        missing = self._descriptors.take(slots) != wanted
        if missing.any():
            unknown, places = np.unique(wanted[missing], return_inverse=True)
            found = self._look_up(snapshot, unknown)
            if found is None:
                return None
            files[missing], paths[missing] = found[0][places], found[1][places]
        return self._hits(scores, files, paths, k)

    def _hits(
        self, scores: NDArray[np.float32], files: NDArray[np.int64], paths: NDArray[np.object_], k: int
    ) -> list[list[Hit]]:
        n, ids, values = scores.shape[1], files.tolist(), scores.ravel().tolist()
        flat = list(map(_make_hit, zip(paths.tolist(), values, ids, strict=True)))
        found = [flat[start : start + n] for start in range(0, len(flat), n)]
        if not self._copies.keys().isdisjoint(ids):
            return [best_hits(self._with_copies(hits), k) for hits in found]
        if any(map(operator.eq, values, itertools.islice(values, 1, None))):
            tied = scores[:, 1:] == scores[:, :-1]
            for row in np.flatnonzero(tied.any(axis=1)).tolist():
                found[row] = best_hits(found[row], k)
        return found

    def _with_copies(self, hits: list[Hit]) -> list[Hit]:
        copies = [Hit(path, hit.score, file) for hit in hits for path, file in self._copies.get(hit.id, ())]
        return hits + copies

    def _follow(self, snapshot: Snapshot) -> None:
        """Forgets everything where the catalog has changed."""
        version = snapshot.version()
        if version != self._version or len(self._copies) > _SLOTS:
            self._roots = snapshot.roots()
            self._version, self._located = version, -_SECONDS
            self._forget()
        self._locate()

    def _locate(self) -> None:
        """Forgets everything where a folder has gone elsewhere."""
        now = time.monotonic()
        if now < self._located + _SECONDS:
            return
        self._located = now
        folders = locate(self._roots, self._index_folder)
        if folders != self._folders:
            self._folders = folders
            self._forget()

    def _forget(self) -> None:
        self._descriptors[:] = self._vacant
        self._copies.clear()

    def _look_up(self, snapshot: Snapshot, descriptors: Ids) -> tuple[NDArray[np.int64], NDArray[np.object_]] | None:
        """The first file of each descriptor, and its path; None where one is not the only one of its image."""
        found: dict[int, list[tuple[str, int]]] = {}
        for descriptor, file, root, path in snapshot.files_of_sole(descriptors):
            found.setdefault(descriptor, []).append((full_path(snapshot, self._folders, root, path), file))
        if len(found) < len(descriptors):
            return None
        names, first = zip(*(copies[0] for copies in found.values()), strict=True)
        self._copies |= {copies[0][1]: copies[1:] for copies in found.values() if len(copies) > 1}
        files, paths = np.array(first, np.int64), np.array(names, object)
        slots = descriptors & (_SLOTS - 1)
        self._descriptors[slots], self._files[slots], self._paths[slots] = descriptors, files, paths
        return files, paths
