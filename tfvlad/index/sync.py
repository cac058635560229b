"""Brings a catalog in line with folders of images.

The scan runs in the thread that feeds the encoder: it finds what changed and reads it, so that the bytes that are
hashed are the bytes that are encoded. The calling thread takes the results and writes them batch by batch, so that an
interrupted synchronisation goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.listing import list_images
from tfvlad.index.catalog.catalog import Catalog
from tfvlad.index.catalog.reading import WHOLE, Stamp, Views, to_blob
from tfvlad.index.catalog.writing import Change
from tfvlad.index.roots import Root, find_root, place
from tfvlad.index.scan import ChangedFile, Failure, Scan

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder

Result: TypeAlias = NDArray[np.float32] | ImageError  # a (dim,) descriptor, or why there is none

_BATCH = 64  # files that one commit holds, at most
_BATCH_SECONDS = 5.0
_UNENCODED = 256  # files settled without the encoder, at most, before its stream is ended so that they can be written


@dataclasses.dataclass(frozen=True)
class SyncReport:
    """What a synchronisation found and did, in files.

    Attributes:
      added: indexed for the first time.
      updated: indexed again, because their bytes changed.
      removed: no longer indexed, because they are gone from the folder.
      unchanged: indexed already.
      failed: not indexed, by this run or an earlier one, sorted by path.
    """

    added: int
    updated: int
    removed: int
    unchanged: int
    failed: list[Failure]


def synchronise(
    catalog: Catalog,
    folders: Iterable[str],
    encoder: Callable[[], AnyEncoder],
    allow_empty: bool = False,
    retry_failed: bool = False,
) -> SyncReport:
    """Brings the catalog in line with each folder, and leaves the images of other folders alone.

    Args:
      catalog: whose sole writer the caller is.
      folders: the roots.
      encoder: called when there is something to encode.
      allow_empty: remove a folder's images even where no file of it is left.
      retry_failed: try failed files again although they have not changed.

    Raises:
      ConfigError: a folder is missing, or overlaps another root, or holds no image while the catalog does.
    """
    reports = [
        _RootSync(catalog, root, allow_empty, retry_failed).run(encoder, files)
        for root, files in _plan(catalog, folders, allow_empty)
    ]
    return SyncReport(
        added=sum(report.added for report in reports),
        updated=sum(report.updated for report in reports),
        removed=sum(report.removed for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        failed=sorted(itertools.chain.from_iterable(report.failed for report in reports)),
    )


def _plan(catalog: Catalog, folders: Iterable[str], allow_empty: bool) -> list[tuple[Root, int]]:
    """Checks every folder before any work is done; gives each one's root and its number of images."""
    with catalog.read() as snapshot:
        roots = snapshot.roots()
        held = {root.id: snapshot.count_files(root.id) for root in roots}
    plan: dict[int, tuple[Root, int]] = {}
    for folder in folders:
        path, relative = place(folder, catalog.folder)
        root = find_root(path, roots, catalog.folder)
        if root is None:
            root = Root(-1 - len(roots), path, relative)
            roots.append(root)
        is_folder, images = os.path.isdir(path), held.get(root.id, 0)
        files = sum(1 for _ in list_images(path)) if is_folder else 0
        if images and not files and not allow_empty:
            raise _emptied(folder, images)
        if not images and not is_folder:
            raise ConfigError(f"{folder} is not a folder")
        plan[root.id] = (root._replace(path=path, relative=relative), files)
    with catalog.write() as change:
        return [(root._replace(id=change.put_root(root)), files) for root, files in plan.values()]


@dataclasses.dataclass(slots=True, eq=False)
class _Work:
    """A changed file on its way into the catalog, without its content; settled once views or a reason are known."""

    path: str
    stamp: Stamp
    sha256: bytes
    file: int | None  # its row in the catalog
    touched: bool = False  # the same bytes under a new stamp
    views: Views | None = None
    reason: str | None = None
    twin: _Work | None = None  # an earlier file with the same bytes, whose outcome this one shares

    @property
    def waits_for_encoder(self) -> bool:
        return not self.touched and self.views is None and self.reason is None and self.twin is None


class _RootSync:
    """One root's synchronisation. `_contents` runs in the encoder's thread, everything else in the caller's."""

    def __init__(self, catalog: Catalog, root: Root, allow_empty: bool, retry_failed: bool) -> None:
        self._catalog = catalog
        self._root = root
        self._scan = Scan(catalog, root, retry_failed)
        self._allow_empty = allow_empty
        self._scanned = False
        self._queue: deque[_Work] = deque()  # from the scan to the batch, in order
        self._in_flight: dict[bytes, _Work] = {}  # by content: given to the encoder, and not committed yet
        self._batch: list[_Work] = []
        self._committed = time.monotonic()
        self._added = self._updated = self._touched = 0
        self._failed: list[Failure] = []

    def run(self, encoder: Callable[[], AnyEncoder], files: int) -> SyncReport:
        changed = self._scan.changed(files)
        try:
            while not self._scanned:
                self._encode(encoder, self._contents(changed))
        finally:
            self._commit()  # what was encoded before an interruption stays
        gone, failures = self._scan.vanished()
        if gone.size and not self._allow_empty and not self._scan.is_anything_left():
            raise _emptied(self._root.path, gone.size)  # a disk that was unplugged meanwhile
        with self._catalog.write() as change:
            change.remove_files(gone)
            change.remove_failures(failures)
        return SyncReport(
            added=self._added,
            updated=self._updated,
            removed=len(gone),
            unchanged=self._scan.unchanged + self._touched,
            failed=self._scan.failures + self._failed,
        )

    def _contents(self, changed: Iterator[ChangedFile]) -> Iterator[bytes]:
        """Queues every changed file, and gives the contents of those that only the encoder can settle."""
        unencoded = 0
        for file in changed:
            work = self._work(file)
            self._queue.append(work)
            if work.waits_for_encoder:
                self._in_flight[work.sha256] = work
                yield file.content
            elif (unencoded := unencoded + 1) == _UNENCODED:
                return
        self._scanned = True

    def _work(self, file: ChangedFile) -> _Work:
        work = _Work(file.path, file.stamp, file.sha256, file.indexed.id if file.indexed else None)
        work.touched = file.indexed is not None and file.indexed.sha256 == file.sha256
        if not work.touched:
            work.twin = self._in_flight.get(file.sha256)
            # Looked up second: a twin leaves `_in_flight` only when the catalog has it.
            with self._catalog.read() as snapshot:
                work.views = snapshot.views_of_content(file.sha256) or None
        return work

    def _encode(self, encoder: Callable[[], AnyEncoder], contents: Iterator[bytes]) -> None:
        first = next(contents, None)
        if first is not None:
            stream = encoder().encode_stream(itertools.chain((first,), contents))
            with contextlib.closing(stream) as results:  # closed, it lets go of `contents`
                for result in results:
                    while not self._queue[0].waits_for_encoder:
                        self._put(self._queue.popleft())
                    work = self._queue.popleft()
                    _settle(work, result)
                    self._put(work)
        while self._queue:
            self._put(self._queue.popleft())

    def _put(self, work: _Work) -> None:
        if work.waits_for_encoder:
            raise RuntimeError("the encoder gave fewer descriptors than it took images")
        if work.twin is not None:
            work.views, work.reason = work.twin.views, work.twin.reason
        self._batch.append(work)
        if len(self._batch) >= _BATCH or time.monotonic() - self._committed >= _BATCH_SECONDS:
            self._commit()

    def _commit(self) -> None:
        if not self._batch:
            return
        with self._catalog.write() as change:
            for work in self._batch:
                self._write(change, work)
        for work in self._batch:
            self._count(work)
            if self._in_flight.get(work.sha256) is work:
                del self._in_flight[work.sha256]
        self._batch.clear()
        self._committed = time.monotonic()

    def _write(self, change: Change, work: _Work) -> None:
        if work.touched and work.file is not None:
            change.touch_file(work.file, work.stamp)
        elif work.views is not None:
            change.put_file(self._root.id, work.path, work.stamp, work.sha256, work.views)
        elif work.reason is not None:
            change.put_failure(self._root.id, work.path, work.stamp, work.reason)

    def _count(self, work: _Work) -> None:
        if work.reason is not None:
            self._failed.append(Failure(os.path.join(self._root.path, work.path), work.reason))
        elif work.touched:
            self._touched += 1
        elif work.file is None:
            self._added += 1
        else:
            self._updated += 1


def _emptied(folder: str, images: int) -> ConfigError:
    state = "holds no image any more" if os.path.isdir(folder) else "is missing"
    return ConfigError(f"{folder} {state}, and the index holds {images} of it; allow_empty removes them")


def _settle(work: _Work, result: Result) -> None:
    if isinstance(result, ImageError):
        work.reason = result.reason
    elif not np.isfinite(result).all():
        work.reason = "its descriptor is not finite"
    else:
        work.views = [(WHOLE, to_blob(result))]
