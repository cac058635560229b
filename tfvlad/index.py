"""The index: images and their descriptors in a catalog, searched exactly or through a graph."""

from __future__ import annotations

import operator
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfvlad.account import IndexedFolder, take_account
from tfvlad.atomic import atomic_folder, settle
from tfvlad.catalog import Catalog
from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError, ConfigError, MismatchError
from tfvlad.graph_cache import GraphCache
from tfvlad.ranking import Ranking
from tfvlad.search import Verification, search_approximately, search_exactly, unit_rows, verify
from tfvlad.sync import SyncReport, synchronise
from tfvlad.tables import Snapshot

if TYPE_CHECKING:
    from tfvlad.encoders import AnyEncoder
    from tfvlad.images import Source

Path = str | os.PathLike[str]

# Below so many descriptors, or where a tenth of them is asked for, the exact search is as fast as the graph.
_FEW = 1000
_LARGE_SHARE = 10

_PAGE = 4096


class Hit(NamedTuple):
    """A file that a search found. Equal files are hits of their own, with equal scores.

    Attributes:
      path: full path, of the folder as it is now.
      score: cosine of the query's descriptor and the nearest of the image's.
      id: the file's id, the same as long as it is in the index.
    """

    path: str
    score: float
    id: int


class Index:
    """Images in one index folder. Threads may search while one synchronises, and processes too."""

    def __init__(self, path: str, catalog: Catalog, encoder: AnyEncoder | None, max_pixels: int | None = None) -> None:
        """Use `create` or `open`."""
        self._path = path
        self._catalog = catalog
        self._graphs = GraphCache(catalog)
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
                from tfvlad.encoders import load_encoder

                encoder = load_encoder(os.path.join(self._path, "encoder"), self._max_pixels)
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
        with self._catalog.read() as snapshot:
            if exact or not snapshot.has_descriptors(at_least=max(_FEW, _LARGE_SHARE * k + 1)):
                return self._hits(snapshot, search_exactly(snapshot, queries, k), k)
        with self._graphs.current() as (graph, snapshot):
            return self._hits(snapshot, search_approximately(graph, snapshot, queries, k), k)

    def verify(self, target_recall: float = 0.99, k: int = 10, sample: int = 500, seed: int = 0) -> Verification:
        """Measures how much of the exact result the graph finds, for a sample of the index's own descriptors.

        Args:
          target_recall: recall that the caller needs, 0 to 1.
          k: neighbours of each query.
          sample: queries, at most.
          seed: of the sample.
        """
        with self._graphs.current() as (graph, snapshot):
            return verify(graph, snapshot, k, target_recall, sample, seed)

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
                yield after, path, self._full_path(folders, root, path)
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

    def _check(self, encoder: AnyEncoder) -> None:
        made_with, given = self._catalog.fingerprint, encoder.fingerprint
        if given != made_with:
            raise MismatchError(
                f"{self._path} was made with the encoder {made_with[:12]}, not {given[:12]}; make a new index for that"
            )

    def _folders(self, snapshot: Snapshot) -> dict[int, str]:
        """Each root's folder, with a separator at the end."""
        return {root.id: os.path.join(root.locate(self._path), "") for root in snapshot.roots()}

    def _hits(self, snapshot: Snapshot, ranking: Ranking, k: int) -> list[list[Hit]]:
        """The k best files: equal ones share an image, and each of them is a hit."""
        folders = self._folders(snapshot)
        files = defaultdict[int, list[tuple[int, str]]](list)
        for image, file, root, path in snapshot.files_of(np.unique(ranking.images[ranking.images >= 0])):
            files[image].append((file, self._full_path(folders, root, path)))
        found = []
        for scores, images in zip(ranking.scores.tolist(), ranking.images.tolist(), strict=True):
            hits = [
                Hit(path, score, file)
                for score, image in zip(scores, images, strict=True)
                for file, path in files.get(image, ())
            ]
            found.append(sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k])
        return found

    def _full_path(self, folders: dict[int, str], root: int, path: str) -> str:
        if root not in folders:
            raise ArtifactError(self._catalog.path, f"is damaged: the folder of {path} is not in it")
        return folders[root] + path
