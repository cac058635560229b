"""The index: images and their descriptors in a catalog, searched exactly or through a graph."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from tfvlad.config import LOCAL_FEATURES, IndexConfig
from tfvlad.errors import ConfigError, Failure, MismatchError
from tfvlad.index._folders import Folders, IndexedFolder
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index._graph_recall import GraphRecall, measure_graph_recall
from tfvlad.index._hits import Hit, Searcher, enough_for_graph
from tfvlad.index._sync import SyncReport, check_kept, synchronise
from tfvlad.index.catalog import Catalog, Kept, Snapshot
from tfvlad.index.graph import HnswGraph
from tfvlad.storage.atomic import atomic_folder, settle

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder
    from tfvlad.images.loading import Source

__all__ = ["Hit", "Index"]

Path = str | os.PathLike[str]

_PAGE = 4096  # files


class Index:
    """The images of one index folder. Threads and processes may search it while one of them synchronises it.

    Example:
      ``with Index.create("photos.index", encoder) as index: index.sync("photos"); hits = index.search("query.jpg")``
    """

    def __init__(self, path: str, catalog: Catalog, encoder: AnyEncoder | None, max_pixels: int | None = None) -> None:
        """Call `create` or `open` instead."""
        self._path = path
        self._catalog = catalog
        self._graphs = GraphCache(catalog, HnswGraph)
        self._searcher = Searcher(catalog, self._graphs, path)
        self._encoder = encoder
        self._encoder_lock = threading.Lock()
        self._max_pixels = max_pixels

    @classmethod
    def create(
        cls,
        path: Path,
        encoder: AnyEncoder,
        config: IndexConfig | None = None,
        views: str = "whole",
        local_features: int = LOCAL_FEATURES,
    ) -> Index:
        """Makes an empty index with its own copy of the encoder.

        Args:
          path: the index folder; it must be missing or empty.
          encoder: the encoder that will make every descriptor of the index.
          config: how the graph is built and searched; `IndexConfig()` by default.
          views: which views of each image get a descriptor, such as ``rotations:8,scales:2``; see
            `tfvlad.images.views.parse_views`. An image's score is that of its best view.
          local_features: cells whose local features are kept of each image, at most, 68 bytes each; searches verify by
            them. 0 keeps none.

        Raises:
          ConfigError: there is something at `path` already, or a setting cannot work.
        """
        kept = check_kept(Kept(views, local_features))
        folder = os.fspath(path)
        if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
            raise ConfigError(f"{folder} exists already; open it, or choose another path")
        with atomic_folder(folder) as temporary:
            encoder.save(os.path.join(temporary, "encoder"))
            Catalog.create(temporary, encoder.fingerprint, encoder.dim, config or IndexConfig(), kept).close()
        return cls.open(folder, encoder)

    @classmethod
    def open(cls, path: Path, encoder: AnyEncoder | None = None, max_pixels: int | None = None) -> Index:
        """Opens an index.

        Args:
          path: the index folder.
          encoder: the index's encoder, if it is loaded already; otherwise the copy in the folder is loaded when it is
            first needed.
          max_pixels: replaces that copy's limit, see `tfvlad.EncoderConfig`; None keeps it.

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
        """The encoder that makes every descriptor of the index; loaded when it is first asked for."""
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
        views: str | None = None,
        local_features: int | None = None,
    ) -> SyncReport:
        """Brings the index in line with folders: adds what is new, updates what changed, removes what is gone.

        Images of other folders stay in the index. If a call is interrupted, the next one goes on where it stopped; at
        most the last few images are encoded again.

        Args:
          folders: one folder or several.
          encoder: the index's encoder, if it is loaded already.
          allow_empty: whether to remove the images of a folder that is missing or holds no image any more; otherwise
            such a folder is refused.
          retry_failed: whether to try files again that failed before and have not changed since.
          views: changes which views each image has, see `create`; None leaves it as it is. What is missing is encoded,
            nothing else; images of other folders get it when those are synchronised. What is left out is removed.
          local_features: changes how many cells are kept of each image that has none yet; 0 removes those of all.

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
                views,
                local_features,
            )
            self._graphs.save()
            with self._catalog.write() as change:
                change.give_back_space()
        return report

    def search(self, queries: Source | Sequence[Source], k: int = 10, exact: bool = False) -> list[list[Hit]]:
        """Finds the images that are most like each query.

        Args:
          queries: a path, the bytes of an image file, a uint8 (height, width, 3) array, or a sequence of these.
          k: the number of files to find. Copies of one image count one by one; fewer files are found if the index holds
            fewer.
          exact: whether to compare with every descriptor instead of searching through the graph.

        Returns:
          A list of hits, best first, for each query, even if there is only one query.

        Raises:
          ImageError: a query cannot be read.
        """
        return self._searcher.search(self.encoder.encode(queries), k, exact)

    def search_descriptors(self, vectors: ArrayLike, k: int = 10, exact: bool = False) -> list[list[Hit]]:
        """Finds the images that are most like each descriptor; needs no encoder.

        Args:
          vectors: (n, dim) numbers; they are L2-normalised here.
          k: see `search`.
          exact: see `search`.

        Returns:
          n lists of hits, best first; equal scores are in the order of the ids.

        Raises:
          ConfigError: the shape is another, a value is not finite, or a vector is all zeros.
        """
        return self._searcher.search(vectors, k, exact)

    def verify(self, target_recall: float | None = None, k: int = 10, sample: int = 500, seed: int = 0) -> GraphRecall:
        """Measures how much of the exact result the graph finds, for queries near a sample of the index's descriptors.

        With a target, it also looks for the smallest `ef_search` that reaches it, and stores that in the index: every
        search uses it from then on, in every process, until the next call with a target. As an index grows, it needs
        a larger `ef_search`; call this again after many additions. A target that is out of the graph's reach changes
        nothing. An index that is so small that its graph is not used never gets a smaller `ef_search` than it has.

        Each query lies in a random direction from a descriptor, as far away as that one's k-th neighbour. The
        descriptors themselves would be too easy to find, because the graph links them to their neighbours. For queries
        unlike anything in the index the graph may still find less.

        Args:
          target_recall: the recall that searches shall have, 0 to 1; None only measures, and writes nothing.
          k: the number of neighbours of each query, 1 or more.
          sample: the number of queries, at most.
          seed: of the sample.

        Raises:
          ConfigError: k is less than 1.
          ArtifactError: there is an `ef_search` to store, and something else is writing to the index.
        """
        if k < 1:
            raise ConfigError(f"k must be 1 or more, got {k}")
        with self._graphs.current() as (graph, snapshot):
            before = graph.ef_search
            least = 0 if len(graph) >= enough_for_graph(k) else before
            result = measure_graph_recall(graph, snapshot, k, target_recall, sample, seed, least)
        if result.target_met and result.ef_search != before:
            with self._catalog.sole_writer(), self._catalog.write() as change:
                change.put_ef_search(result.ef_search)
        return result

    def folders(self) -> list[IndexedFolder]:
        """Every folder that was synchronised, with the files in it that are no images; needs no encoder.

        Raises:
          ArtifactError: the catalog is damaged.
        """
        with self._catalog.read() as snapshot:
            folders = self._folders(snapshot)
            failed: dict[int, list[Failure]] = {root: [] for root in folders.paths}
            for root, path, reason in snapshot.failures():
                failure = Failure(folders.full_path(root, path), reason)
                failed[root].append(failure)
            return [
                IndexedFolder(path, snapshot.count_files(root), sorted(failed[root]))
                for root, path in folders.paths.items()
            ]

    def images(self) -> Iterator[tuple[int, str, str]]:
        """Every indexed file by id, as (id, path relative to its folder, full path)."""
        after = 0
        while True:
            with self._catalog.read() as snapshot:
                page, folders = snapshot.files_page(after, _PAGE), self._folders(snapshot)
            for after, root, path in page:
                yield after, path, folders.full_path(root, path)
            if len(page) < _PAGE:
                return

    def __len__(self) -> int:
        """The number of indexed files."""
        with self._catalog.read() as snapshot:
            return snapshot.count_files()

    def close(self) -> None:
        """Closes the catalog's file; the index cannot be used afterwards."""
        self._catalog.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, encoder: AnyEncoder) -> None:
        made_with, given = self._catalog.fingerprint, encoder.fingerprint
        if given != made_with:
            raise MismatchError(
                f"{self._path} was made with the encoder {made_with[:12]}, not {given[:12]}; make a new index for that"
            )

    def _folders(self, snapshot: Snapshot) -> Folders:
        return Folders(snapshot.roots(), self._path, snapshot.path)
