"""The index: images and their descriptors in a catalog, searched exactly or through a graph."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import operator
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfvlad.config import LOCAL_FEATURES, QUERY_VIEWS, VERIFIED, IndexConfig
from tfvlad.errors import ArtifactError, ConfigError, Failure, ImageError, MismatchError
from tfvlad.images.files import read_file
from tfvlad.images.sources import as_sources
from tfvlad.images.views import WHOLE, View, parse_views
from tfvlad.index._graph_cache import GraphCache, Graphs
from tfvlad.index._graph_recall import GraphRecall, measure_graph_recall
from tfvlad.index._hits import Hit
from tfvlad.index._mirrored import Mirrored
from tfvlad.index._queries import QueryReader
from tfvlad.index._search import Searcher, enough_for_graph
from tfvlad.index._sync import SyncReport, check_kept, synchronise
from tfvlad.index._synced_folders import Folders, IndexedFile, IndexedFolder, find_root, known_root, place
from tfvlad.index.catalog import Catalog, Kept, Snapshot
from tfvlad.index.compact import UPRIGHT, compact
from tfvlad.index.contents import Contents, read_contents
from tfvlad.index.graph_backends import installed_backend
from tfvlad.index.hubness import measure_hubness
from tfvlad.index.mirror import mirror_maker
from tfvlad.index.reranking import Candidate, Query
from tfvlad.matching.local_features import LocalFeatures
from tfvlad.storage.atomic import atomic_folder, settle

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder
    from tfvlad.images.sources import ImageLike, Source
    from tfvlad.index._explaining import HitExplanation
    from tfvlad.index.duplicates import Duplicates
    from tfvlad.index.verification import Method, Verification
    from tfvlad.matching.verdict import Calibration

__all__ = ["Hit", "Index"]

Path = str | os.PathLike[str]

_PAGE = 4096  # files
_SHOWN = 6  # images in a notebook


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How a search goes on.

    Attributes:
      views: of each query.
      method: the way to verify.
      reranker: verifies; None where nothing is verified.
      correct: whether the shortlist's scores are corrected by hubness.
    """

    views: tuple[View, ...]
    method: Method
    reranker: Verification | None
    correct: bool


class Index:
    """The images of one index folder. Threads and processes may search it while one of them synchronises it.

    Example:
      ``with Index.create("photos.index", encoder) as index: index.sync("photos"); hits = index.search("query.jpg")``
    """

    def __init__(
        self,
        path: str,
        catalog: Catalog,
        encoder: AnyEncoder | None,
        max_pixels: int | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        """Call `create` or `open` instead."""
        self._path = path
        self._catalog = catalog
        self._graphs = graphs or GraphCache(catalog, installed_backend())
        self._searcher = Searcher(catalog, self._graphs, path)
        self._encoder = encoder
        self._encoder_lock = threading.Lock()
        self._max_pixels = max_pixels
        self._queries = QueryReader(catalog, lambda: self.encoder)
        self._methods: dict[str, Method] = {}
        self._methods_lock = threading.Lock()

    @classmethod
    def create(
        cls,
        path: Path,
        encoder: AnyEncoder,
        config: IndexConfig | None = None,
        views: str = "whole",
        local_features: int = LOCAL_FEATURES,
        search: str | None = None,
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
          search: see `open`.

        Raises:
          ConfigError: there is something at `path` already, or a setting cannot work.
        """
        kept = check_kept(Kept(views, local_features))
        if search is not None:
            mirror_maker(search)
        folder = os.fspath(path)
        if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
            raise ConfigError(f"{folder} exists already; open it, or choose another path")
        with atomic_folder(folder) as temporary:
            encoder.save(os.path.join(temporary, "encoder"))
            Catalog.create(temporary, encoder.fingerprint, encoder.dim, config or IndexConfig(), kept).close()
        return cls.open(folder, encoder, search=search)

    @classmethod
    def open(
        cls,
        path: Path,
        encoder: AnyEncoder | None = None,
        max_pixels: int | None = None,
        search: str | None = None,
    ) -> Index:
        """Opens an index.

        Args:
          path: the index folder.
          encoder: the index's encoder, if it is loaded already; otherwise the copy in the folder is loaded when it is
            first needed.
          max_pixels: replaces that copy's limit, see `tfvlad.EncoderConfig`; None keeps it.
          search: the URL of an engine that searches among the descriptors instead of hnswlib, where `sync` mirrors
            them: ``milvus://HOST:PORT``, ``milvus:FILE`` or ``postgresql://HOST/DATABASE``, see
            `tfvlad.index.mirror.mirror_maker`. It is connected to when it is first needed.

        Raises:
          ArtifactError: `path` is no index, or of a newer format.
          ConfigError: `search` is no URL of an engine, or its client is not installed.
          MismatchError: `encoder` is not the one that the index was made with.
        """
        connect = None if search is None else mirror_maker(search)
        catalog = Catalog(os.fspath(path))
        graphs = None if connect is None else Mirrored(catalog, connect)
        index = cls(os.fspath(path), catalog, encoder, max_pixels, graphs)
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

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder that made every descriptor of the index."""
        return self._catalog.fingerprint

    @property
    def local_features(self) -> int:
        """How many cells' local features are kept of each image, at most; 0 where none are."""
        with self._catalog.read() as snapshot:
            return snapshot.kept().local_features

    def sync(
        self,
        folders: Path | Iterable[Path] | None = None,
        encoder: AnyEncoder | None = None,
        *,
        allow_empty: bool = False,
        retry_failed: bool = False,
        views: str | None = None,
        local_features: int | None = None,
        check_content: bool = False,
    ) -> SyncReport:
        """Brings the index in line with folders: adds what is new, updates what changed, removes what is gone.

        Images of other folders stay in the index. If a call is interrupted, the next one goes on where it stopped; at
        most the last few images are encoded again.

        Args:
          folders: one folder or several; None is every folder that the index holds.
          encoder: the index's encoder, if it is loaded already.
          allow_empty: whether to remove the images of a folder that is missing or holds no image any more; otherwise
            such a folder is refused.
          retry_failed: whether to try files again that failed before and have not changed since.
          views: changes which views each image has, see `create`; None leaves it as it is. What is missing is encoded,
            nothing else; images of other folders get it when those are synchronised. What is left out is removed.
          local_features: changes how many cells are kept of each image that has none yet; 0 removes those of all.
          check_content: whether to read every file. Otherwise a file is read if its size, its modification time, its
            inode or the time of its last change (ctime) is another than when it was indexed; the last two where the
            system has them, which is not so on Windows.

        Raises:
          ConfigError: a folder is missing or empty, or overlaps one that the index holds.
          MismatchError: `encoder` is not the one that the index was made with.
          ArtifactError: something else is writing to the index, or it is damaged.
        """
        if encoder is not None:
            self._check(encoder)
        if folders is None:
            folders = [folder.path for folder in self.folders()]
        elif isinstance(folders, str | os.PathLike):
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
                check_content,
            )
            self._catalog.save_vectors()
            self._graphs.save()
            with self._catalog.read() as snapshot:
                kept = snapshot.kept()
            if kept.local_features or len(parse_views(kept.views)) > 1:  # searches correct their scores by it
                measure_hubness(self._catalog, self._graphs, enough_for_graph(1))
            if kept.local_features:
                self._calibrate_if_due()
            with self._catalog.write() as change:
                change.give_back_space()
        return report

    def forget(self, folder: Path) -> int:
        """Removes a folder that was synchronised, and all its images, from the index; the files are not touched.

        Args:
          folder: as it was synchronised; it may be gone.

        Returns:
          How many files left the index.

        Raises:
          ConfigError: the index does not hold this folder.
          ArtifactError: something else is writing to the index, or it is damaged.
        """
        with self._catalog.sole_writer():
            with self._catalog.write() as change:
                root = known_root(os.fspath(folder), change.roots(), self._path)
                removed = change.count_files(root.id)
                change.remove_root(root.id)
            self._catalog.save_vectors()
            self._graphs.save()
            with self._catalog.write() as change:
                change.give_back_space()
        return removed

    def relocate(self, old: Path, new: Path) -> None:
        """Tells the index that a folder has been moved or renamed, so that nothing is encoded anew.

        Its files keep their ids. `sync` then finds what has changed in it.

        Args:
          old: where the folder was when it was synchronised.
          new: where it is now.

        Raises:
          ConfigError: the index does not hold `old`, `new` is not a folder, or overlaps another one of the index.
          ArtifactError: something else is writing to the index, or it is damaged.
        """
        path, relative = place(os.fspath(new), self._path)
        if not os.path.isdir(path):
            raise ConfigError(f"{os.fspath(new)} is not a folder")
        with self._catalog.sole_writer(), self._catalog.write() as change:
            roots = change.roots()
            root = known_root(os.fspath(old), roots, self._path)
            others = [other for other in roots if other.id != root.id]
            if find_root(path, others, self._path) is not None:
                raise ConfigError(f"{os.fspath(new)} is another folder of the index; forget one of the two")
            change.put_root(root._replace(path=path, relative=relative))

    def search(
        self,
        queries: ImageLike | Iterable[ImageLike],
        k: int = 10,
        exact: bool = False,
        *,
        box: tuple[float, float, float, float] | None = None,
        verify: int | None = None,
        query_views: str | None = None,
        verifier: str = "cells",
        expand: int = 0,
        reciprocal: int = 0,
    ) -> list[list[Hit]]:
        """Finds the images that show the same as each query, or are most like it.

        Example:
          >>> [hits] = index.search("query.jpg", k=5, box=(120, 80, 300, 200))
          >>> hits[0].path, hits[0].verdict, hits[0].inliers, hits[0].box
          ('photos/17.jpg', 'same', 84, (10, 22, 301, 190))

        The descriptors of the query's views give a shortlist; its first `verify` images are then compared with the
        query by their local features, which decides their order. A query with the bytes of an indexed image is not
        encoded: its descriptor and local features are taken from the index, unless `box` or `query_views` ask for more.

        Args:
          queries: a path, the bytes of an image file, a uint8 (height, width, 3) array, a PIL image, or several of
            these.
          k: the number of files to find. Copies of one image count one by one; fewer files are found if the index holds
            fewer.
          exact: whether to compare with every descriptor instead of searching through the graph.
          box: the part of each query that is searched for: x, y, width and height in pixels of the upright picture.
          verify: images of the shortlist to verify; 0 leaves the order to the descriptors. None is 50 where the index
            keeps local features, and 0 where it does not. Where it does not, they are extracted from the images' files.
          query_views: which views of each query are searched for, such as ``rotations:4,scales:2``, see
            `tfvlad.images.views.parse_views`. None is `tfvlad.config.QUERY_VIEWS` where the index keeps local features,
            and the whole picture where it does not.
          verifier: ``cells`` compares local features of the network, ``sift`` looks for SIFT keypoints in the images'
            files (it needs OpenCV, ``pip install 'tfvlad[sift]'``).
          expand: the query is searched for a second time, together with so many of the images that were found (of those
            that are verified as the same, or likely to be); for collections with several photographs of each thing.
          reciprocal: neighbours of each image by which the shortlist is re-ordered before it is verified, such as 5: an
            image that has the query, or neighbours of it, among its own neighbours comes forward. For collections with
            several photographs of each thing, too, about as many as this number. 0 leaves that out; see
            `tfvlad.index.reciprocal`.

        Returns:
          A list of hits, best first, for each query, even if there is only one query.

        Raises:
          ImageError: a query cannot be read, or the box is not inside of it.
          ConfigError: a setting cannot work.
        """
        sources = as_sources(queries)
        plan = self._plan(verify, query_views, verifier, expand, reciprocal)
        indexed = box is None and (query_views is None or plan.views == (WHOLE,))
        features = plan.reranker is not None and plan.method.needs_features
        found: list[list[Hit]] = []
        for chunk in self._queries.read(sources, plan.views, box, features, indexed):
            found += self._searcher.find(chunk, k, exact, plan.reranker, plan.correct, expand, reciprocal)
        return found

    def search_indexed(
        self,
        file: int | Path,
        k: int = 10,
        exact: bool = False,
        *,
        verify: int | None = None,
        verifier: str = "cells",
        expand: int = 0,
        reciprocal: int = 0,
    ) -> list[Hit]:
        """Finds the images that show the same as an indexed one; needs no encoder and no TensorFlow.

        Args:
          file: the id of an indexed file, or the path of a file with the bytes of one.
          k: see `search`; so are the others.

        Returns:
          Hits, best first; the file itself is among them.

        Raises:
          ConfigError: the index does not hold it, or a setting cannot work.
        """
        plan = self._plan(verify, "whole", verifier, expand, reciprocal)
        query = self._indexed(file, plan.reranker is not None and plan.method.needs_features)
        [hits] = self._searcher.find([query], k, exact, plan.reranker, plan.correct, expand, reciprocal)
        return hits

    def explain(
        self,
        query: Source,
        hit: Hit | int,
        *,
        box: tuple[float, float, float, float] | None = None,
        verifier: str = "cells",
        shares: bool = True,
    ) -> HitExplanation:
        """Shows why a query matches a file: what agrees, where the one lies in the other, what carried the score.

        Example:
          >>> [hits] = index.search("query.jpg")
          >>> explanation = index.explain("query.jpg", hits[0])
          >>> pathlib.Path("why.png").write_bytes(explanation.to_png())

        Args:
          query: what was searched for.
          hit: a hit, or the id of any indexed file.
          box: as it was searched for.
          verifier: likewise.
          shares: whether to split the descriptors' cosine into the shares of cells, for which both are encoded anew.

        Raises:
          ImageError: the query or the file cannot be read.
          ConfigError: there is no such file in the index, or a setting cannot work.
        """
        from tfvlad.index._explaining import explain_match  # imports Numba, as what follows
        from tfvlad.index.verification import Verification, read_calibration

        file = hit.id if isinstance(hit, Hit) else hit
        query_view = hit.query_view if isinstance(hit, Hit) else None
        plan = self._plan(1, None, verifier)
        views = plan.views if query_view is None else tuple(dict.fromkeys([WHOLE, View.from_name(query_view)]))
        indexed = box is None and views == (WHOLE,)
        [[asked]] = self._queries.read([query], views, box, plan.method.needs_features, indexed)
        with self._catalog.read() as snapshot:
            image = snapshot.image_of_file(file)
            located = list(snapshot.locate_files(np.array([file], np.int64)))
            if image is None or not located:
                raise ConfigError(f"the index holds no file with the id {file}")
            path = self._folders(snapshot).full_path(*located[0][1:])
            found = Candidate(
                image,
                hit.score if isinstance(hit, Hit) else 0.0,
                view=hit.view if isinstance(hit, Hit) else None,
                query_view=-1 if query_view is None else views.index(View.from_name(query_view)),
                path=path,
            )
            verification = Verification(1, plan.method, self._extract)
            [(match, _)] = verification.compare(asked, [found], snapshot, cells=True)
            calibration = read_calibration(snapshot, plan.method)
        explanation = explain_match(asked, found, match, calibration, lambda: self.encoder, shares)
        if isinstance(hit, Hit) and hit.verdict is not None and hit.probability is not None:
            # What the search said, which depends on how many images it verified.
            return dataclasses.replace(explanation, verdict=hit.verdict, probability=hit.probability)
        return explanation

    def calibration(self, verifier: str = "cells") -> Calibration:
        """What numbers of inliers mean in this index; see `calibrate`."""
        from tfvlad.index.verification import read_calibration  # imports Numba

        with self._catalog.read() as snapshot:
            return read_calibration(snapshot, self._method(verifier))

    def calibrate(self, verifier: str = "cells") -> Calibration:
        """Measures what numbers of inliers mean, on pairs of the index's own images, and stores it.

        `sync` does so for ``cells`` whenever the number of images has doubled.

        Args:
          verifier: see `search`.

        Raises:
          ConfigError: the index keeps no local features, and the verifier needs them.
          ArtifactError: something else is writing to the index, or it is damaged.
        """
        from tfvlad.index._calibrating import measure_calibration  # imports Numba

        method = self._method(verifier)
        with self._catalog.sole_writer():
            with self._catalog.read() as snapshot:
                if method.needs_features and not snapshot.kept().local_features:
                    raise ConfigError(f"{self._path} keeps no local features to be calibrated on")
            return measure_calibration(self._catalog, self._path, method)

    def duplicates(self) -> Duplicates:
        """Finds the groups of files that show the same picture; nothing is deleted, and no encoder is needed.

        Files of equal bytes are found, and copies: recompressed, made smaller, cropped, turned a little, in grey,
        brighter, with a watermark or a border. Two photographs of one thing are no copies, and neither is a mirrored
        one. Copies turned by 90, 180 or 270 degrees are found where the index has views ``rotations:4``.

        Each image is compared with those whose descriptors are nearest, so that the work is linear in the number of
        images: by the local features that the index keeps, and then by the pixels of the two files.

        Example:
          >>> for group in index.duplicates().groups:
          ...     print(group[0].path, [(copy.path, copy.kind, copy.how) for copy in group[1:]])

        Returns:
          The groups; every file of one is verified against its first. The same index and files give the same result.

        Raises:
          ArtifactError: the catalog is damaged.
        """
        from tfvlad.index._duplicate_search import NEIGHBOURS, find_duplicates  # imports Numba

        exact_up_to = enough_for_graph(NEIGHBOURS + 1)
        return find_duplicates(self._catalog, self._graphs, self._path, exact_up_to, self._max_pixels)

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

    def locate(self, files: Iterable[int]) -> dict[int, IndexedFile]:
        """Where indexed files are, by id; ids that the index does not hold are left out."""
        ids = np.array([file for file in files if 0 < file < 2**63], np.int64)
        with self._catalog.read() as snapshot:
            paths, located = self._folders(snapshot).paths, list(snapshot.locate_files(ids))
            images = {file: snapshot.image_of_file(file) for file, _, _ in located}
        return {
            file: IndexedFile(paths[root], path, image)
            for file, root, path in located
            if (image := images[file]) is not None and root in paths
        }

    def content(self, file: int) -> bytes:
        """The bytes of an indexed file, which are those that were indexed.

        Args:
          file: its id.

        Raises:
          ConfigError: the index holds no such file.
          ImageError: it cannot be read, or has changed since it was indexed.
        """
        located = self.locate([file]).get(file)
        if located is None:
            raise ConfigError(f"the index holds no file with the id {file}")
        data = read_file(located.full_path)
        with self._catalog.read() as snapshot:
            image = snapshot.image_of_content(hashlib.sha256(data).digest())
        if image != located.image:
            raise ImageError(located.full_path, "has changed since it was indexed")
        return data

    def contents(self) -> Contents:
        """Every indexed file and the descriptors of its image's views, as arrays: 4 bytes for each number.

        Raises:
          ArtifactError: the catalog is damaged.
        """
        with self._catalog.read() as snapshot:
            return read_contents(snapshot, self._catalog.dim, self._folders(snapshot).paths)

    def __len__(self) -> int:
        """The number of indexed files."""
        with self._catalog.read() as snapshot:
            return snapshot.count_files()

    def close(self) -> None:
        """Closes the catalog's file and gives up the graph's memory; the index cannot be used afterwards."""
        self._catalog.close()
        self._graphs.close()

    def __repr__(self) -> str:
        """The index in one line, with the number of its files."""
        made_with = f"encoder {self._catalog.fingerprint[:12]}, {self._catalog.dim} dimensions"
        try:
            return f"<Index {self._path!r}: {len(self)} images, {made_with}>"
        except (ValueError, ArtifactError):
            return f"<Index {self._path!r}: closed or unreadable, {made_with}>"

    def _repr_html_(self) -> str:
        """What the index holds, and some of its images, for a notebook."""
        from tfvlad.images.notebooks import facts, pictures

        try:
            told = {
                "images": f"{len(self):,}",
                "folders": ", ".join(folder.path for folder in self.folders()),
                "dimensions": self._catalog.dim,
                "encoder": self._catalog.fingerprint[:12],
            }
            shown = [(path, ()) for _, _, path in itertools.islice(self.images(), _SHOWN)]
        except (ValueError, ArtifactError):
            return facts(repr(self), {})
        return facts(f"tfvlad.Index {self._path}", told) + pictures(shown)

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

    def _plan(
        self, verify: int | None, query_views: str | None, verifier: str, expand: int = 0, reciprocal: int = 0
    ) -> _Plan:
        """How a search goes on, from what was asked for and what the index keeps."""
        from tfvlad.index.verification import Verification  # imports Numba

        for name, value in (("verify", verify), ("expand", expand), ("reciprocal", reciprocal)):
            if value is not None and operator.index(value) < 0:
                raise ConfigError(f"{name} must be 0 or more, got {value}")
        with self._catalog.read() as snapshot:
            keeps = snapshot.kept().local_features > 0
        depth = (VERIFIED if keeps else 0) if verify is None else verify
        views = parse_views((QUERY_VIEWS if keeps else "") if query_views is None else query_views)
        method = self._method(verifier)
        reranker = Verification(depth, method, self._extract) if depth else None
        return _Plan(views, method, reranker, correct=depth > 0 or len(views) > 1)

    def _calibrate_if_due(self) -> None:
        from tfvlad.index._calibrating import is_due, measure_calibration  # imports Numba

        method = self._method("cells")
        with self._catalog.read() as snapshot:
            due = is_due(snapshot, method)
        if due:
            measure_calibration(self._catalog, self._path, method)

    def _method(self, verifier: str) -> Method:
        from tfvlad.index.verification import method  # imports Numba

        with self._methods_lock:
            if verifier not in self._methods:
                self._methods[verifier] = method(verifier)
            return self._methods[verifier]

    def _indexed(self, file: int | Path, features: bool) -> Query:
        if not isinstance(file, str | os.PathLike):
            with self._catalog.read() as snapshot:
                located = list(snapshot.locate_files(np.array([file], np.int64)))
                path = self._folders(snapshot).full_path(*located[0][1:]) if located else ""
            return self._queries.indexed(file, features, path)
        query = self._queries.find(file, features)
        if query is None:
            raise ConfigError(f"{os.fsdecode(file)} is not in the index, or has changed since it was indexed")
        return query

    def _extract(self, paths: Sequence[str]) -> list[LocalFeatures | None]:
        """The local features of image files; None for one that cannot be used."""
        described = self.encoder.describe_stream(paths)
        return [
            None if isinstance(one, ImageError) else compact(one.features, one.size, UPRIGHT, LOCAL_FEATURES)
            for one in described
        ]

    def _folders(self, snapshot: Snapshot) -> Folders:
        return Folders(snapshot.roots(), self._path, snapshot.path)
