"""The index: images and their descriptors in a catalog, searched exactly or through a graph."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ConfigError, MismatchError
from tfvlad.index.account import IndexedFolder, take_account
from tfvlad.index.catalog.catalog import Catalog
from tfvlad.index.catalog.reading import Snapshot
from tfvlad.index.graph_cache import GraphCache
from tfvlad.index.hits import Hit, full_path, hits_of_images, locate
from tfvlad.index.recall import Verification, verify
from tfvlad.index.remembered import RememberedFiles
from tfvlad.index.search import rank_found, search_exactly, search_graph, unit_rows
from tfvlad.index.sync import SyncReport, synchronise
from tfvlad.storage.atomic import atomic_folder, settle

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder
    from tfvlad.images.loading import Source

__all__ = ["Hit", "Index"]

Path = str | os.PathLike[str]

# Below so many descriptors, or where a tenth of them is asked for, the exact search is as fast as the graph.
_FEW = 1000
_LARGE_SHARE = 10

_PAGE = 4096


class Index:
    """Images in one index folder. Threads may search while one synchronises, and processes too."""

    def __init__(self, path: str, catalog: Catalog, encoder: AnyEncoder | None, max_pixels: int | None = None) -> None:
        """Use `create` or `open`."""
        self._path = path
        self._catalog = catalog
        self._graphs = GraphCache(catalog)
        self._files = RememberedFiles(path)  # used by whoever holds the graph's lock
        self._encoder = encoder
        self._encoder_lock = threading.Lock()
        self._max_pixels = max_pixels

    @classmethod
    def create(cls, path: Path, encoder: AnyEncoder, config: IndexConfig | None = None) -> Index:
        """Makes an empty index with its own copy of the encoder.

        Args:
          path: the index folder; it must not exist, or be an empty folder.
          encoder: makes every descriptor of the index.
          config: how the graph is built and searched.

        Raises:
          ConfigError: there is something at `path` already.
        """
        folder = os.fspath(path)
        if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
            raise ConfigError(f"{folder} exists already; open it, or choose a path where nothing is")
        with atomic_folder(folder) as temporary:
            encoder.save(os.path.join(temporary, "encoder"))
            Catalog.create(temporary, encoder.fingerprint, encoder.dim, config or IndexConfig()).close()
        return cls.open(folder, encoder)

    @classmethod
    def open(cls, path: Path, encoder: AnyEncoder | None = None, max_pixels: int | None = None) -> Index:
        """Opens an index.

        Args:
          path: the index folder.
          encoder: the index's encoder where it is loaded already; otherwise the copy in the folder is loaded when it
            is first needed.
          max_pixels: replaces that copy's setting, see `tfvlad.EncoderConfig`; None keeps it.

        Raises:
          ArtifactError: `path` is no index, or of a newer format.
          MismatchError: `encoder` is not the one that the index was made with.
        """
        index = cls(os.fspath(path), Catalog(os.fspath(path)), encoder, max_pixels)
        try:
            if encoder is not None:
                index._check(encoder)
        except MismatchError:
            index.close()
            raise
        return index

    @property
    def encoder(self) -> AnyEncoder:
        """The encoder of every descriptor in the index, loaded when first asked for."""
        with self._encoder_lock:
            if self._encoder is None:
                from tfvlad.encoding.interface import load_folder

                encoder = load_folder(os.path.join(self._path, "encoder"), self._max_pixels)
                self._check(encoder)
                self._encoder = encoder
            return self._encoder

    def sync(
        self,
        folders: Path | Iterable[Path],
        encoder: AnyEncoder | None = None,
        *,
        allow_empty: bool = False,
        retry_failed: bool = False,
    ) -> SyncReport:
        """Brings the index in line with folders: adds what is new, updates what changed, removes what is gone.

        Images of folders that were synchronised before and are not named stay. An interrupted call loses the last few
        images at most; the next one goes on from there.

        Args:
          folders: one folder or several.
          encoder: the index's encoder where it is loaded already.
          allow_empty: where a folder is missing or holds no image any more, remove its images instead of refusing.
          retry_failed: try files again that failed earlier and have not changed since.

        Raises:
          ConfigError: a folder is missing or empty, or overlaps one that the index holds.
          MismatchError: `encoder` is not the one that the index was made with.
          ArtifactError: something else is writing to the index, or it is damaged.
        """
        if encoder is not None:
            self._check(encoder)
        if isinstance(folders, str | os.PathLike):
            folders = [folders]
        with self._catalog.sole_writer():
            settle(self._path)
            report = synchronise(
                self._catalog,
                (os.fspath(folder) for folder in folders),
                lambda: encoder or self.encoder,
                allow_empty,
                retry_failed,
            )
            self._graphs.save()
            with self._catalog.write() as change:
                change.give_back_space()
        return report

    def search(self, queries: Source | Sequence[Source], k: int = 10, exact: bool = False) -> list[list[Hit]]:
        """Finds the images most like each query.

        Args:
          queries: a path, the bytes of an image file, a uint8 (height, width, 3) array, or a sequence of these.
          k: files to find, copies of one image counted each; fewer are given where the index holds fewer.
          exact: compare with every descriptor instead of searching the graph.

        Returns:
          For each query, also for a single one, a list of hits, best first.

        Raises:
          ImageError: a query cannot be read.
        """
        return self.search_descriptors(self.encoder.encode(queries), k, exact)

    def search_descriptors(self, vectors: ArrayLike, k: int = 10, exact: bool = False) -> list[list[Hit]]:
        """Finds the images most like each descriptor, without the encoder.

        Args:
          vectors: (n, dim) numbers; L2-normalised here.
          k: see `search`.
          exact: see `search`.

        Returns:
          n lists of hits, best first, equal scores by lower id.

        Raises:
          ConfigError: another shape, a value that is not finite, or a vector of zeros.
        """
        queries = unit_rows(vectors, self._catalog.dim)
        k = operator.index(k)
        if k < 0:
            raise ConfigError(f"k must be 0 or more, got {k}")
        if k == 0 or not len(queries):
            return [[] for _ in queries]
        if exact or not self._graphs.holds(_enough(k)):
            with self._catalog.read() as snapshot:
                if exact or not snapshot.has_descriptors(_enough(k)):
                    return hits_of_images(snapshot, self._path, search_exactly(snapshot, queries, k), k)
        return self._search_graph(queries, k)

    def verify(self, target_recall: float | None = None, k: int = 10, sample: int = 500, seed: int = 0) -> Verification:
        """Measures how much of the exact result the graph finds, for queries near a sample of the index's descriptors.

        With a target, the smallest `ef_search` that reaches it is looked for and stored in the index: searches use it
        from then on, in every process, until the next call with a target. Each query lies in a random direction from a
        descriptor, as far as that one's k-th neighbour: like one from elsewhere it has no links in the graph, without
        which the descriptors themselves would be harder to find. Queries unlike anything in the index may still find
        less. As an index grows, so does what it needs: after many additions, call again. A target that is out of the
        graph's reach changes nothing; an index too small for its graph to be used never gets a smaller `ef_search` than
        it has.

        Args:
          target_recall: recall that the searches shall have, 0 to 1; None only measures, and writes nothing.
          k: neighbours of each query, 1 or more.
          sample: queries, at most.
          seed: of the sample.

        Raises:
          ConfigError: k is less than 1.
          ArtifactError: there is an `ef_search` to store, and something else is writing to the index.
        """
        if k < 1:
            raise ConfigError(f"k must be 1 or more, got {k}")
        with self._graphs.current() as (graph, snapshot):
            before = graph.ef_search
            least = 0 if len(graph) >= _enough(k) else before
            result = verify(graph, snapshot, k, target_recall, sample, seed, least)
        if result.target_met and result.ef_search != before:
            with self._catalog.sole_writer(), self._catalog.write() as change:
                change.put_ef_search(result.ef_search)
        return result

    def folders(self) -> list[IndexedFolder]:
        """Every folder that was synchronised, with the files of it that are no images; needs no encoder."""
        with self._catalog.read() as snapshot:
            return take_account(snapshot, self._folders(snapshot))

    def images(self) -> Iterator[tuple[int, str, str]]:
        """Every indexed file by id, as (id, path relative to its folder, full path)."""
        after = 0
        while True:
            with self._catalog.read() as snapshot:
                page, folders = snapshot.files_page(after, _PAGE), self._folders(snapshot)
            for after, root, path in page:
                yield after, path, full_path(snapshot, folders, root, path)
            if len(page) < _PAGE:
                return

    def __len__(self) -> int:
        """The number of indexed files."""
        with self._catalog.read() as snapshot:
            return snapshot.count_files()

    def close(self) -> None:
        """Lets go of the catalog's file; the index cannot be used afterwards."""
        self._catalog.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _search_graph(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        with self._graphs.lock:  # where nothing has changed, and nothing is new, no transaction is needed
            version = self._catalog.version()
            known = self._graphs.of(version)
            found = search_graph(known, queries, k) if known is not None else None
            hits = self._files.recall(version, *found, k) if found else None
        if hits is not None:
            return hits
        with self._graphs.current() as (graph, snapshot):
            if found is None or snapshot.version() != version:
                found = search_graph(graph, queries, k)
            hits = self._files.hits(snapshot, *found, k) if found else None
            if hits is None:
                hits = hits_of_images(snapshot, self._path, rank_found(graph, snapshot, queries, found, k), k)
            return hits

    def _check(self, encoder: AnyEncoder) -> None:
        made_with, given = self._catalog.fingerprint, encoder.fingerprint
        if given != made_with:
            raise MismatchError(
                f"{self._path} was made with the encoder {made_with[:12]}, not {given[:12]}; make a new index for that"
            )

    def _folders(self, snapshot: Snapshot) -> dict[int, str]:
        return locate(snapshot.roots(), self._path)


def _enough(k: int) -> int:
    """Descriptors from which on the graph is searched for k of them."""
    return max(_FEW, _LARGE_SHARE * k + 1)
