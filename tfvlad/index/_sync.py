"""Synchronisation: brings a catalog in line with folders of images.

The scan runs in the thread that feeds the encoder. It finds the files that changed and reads them, so that the bytes
that are hashed are the bytes that are encoded. The calling thread takes the descriptors and commits them to the catalog
batch by batch, so that an interrupted synchronisation goes on where it stopped.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import operator
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tfvlad.encoding.views import Description, Encoded, ViewsDescription
from tfvlad.errors import ConfigError, Failure, ImageError, PassingImageError
from tfvlad.images.listing import list_images
from tfvlad.images.views import WHOLE, View, parse_views
from tfvlad.index._folder_changes import ChangedFile, Scan
from tfvlad.index._synced_folders import Root, find_root, place
from tfvlad.index.catalog import Catalog, Change, EncodedView, Kept, Stamp, to_blob
from tfvlad.index.compact import UPRIGHT, compact
from tfvlad.matching.local_features import MOST_CELLS

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder
    from tfvlad.images.sources import Source

GetEncoder: TypeAlias = Callable[[], "AnyEncoder"]  # loads the encoder when it is first called
# A (dim,) descriptor, perhaps with local features, or several, or why there is none.
Result: TypeAlias = NDArray[np.float32] | Description | ViewsDescription | Encoded | ImageError

_BATCH = 64  # files in one commit, at most
_BATCH_SECONDS = 5.0
_UNENCODED = 256  # so many files that need no encoding end the encoder's stream, so that they can be committed


@dataclasses.dataclass(frozen=True)
class SyncReport:
    """What a synchronisation did, in numbers of files.

    Attributes:
      added: files that were not in the index before.
      updated: files that were encoded again, because their bytes changed.
      removed: files that left the index, because they are gone from the folder.
      unchanged: files that were in the index already.
      failed: files that could not be indexed, in this run or an earlier one, sorted by path.
      completed: those of the unchanged files that got views or local features that they lacked.
      moved: files that are in another place of their folder than before; they count as neither added nor removed.
      passed_over: files that are not taken for images, by suffix.
    """

    added: int
    updated: int
    removed: int
    unchanged: int
    failed: list[Failure]
    completed: int = 0
    moved: int = 0
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)


def synchronise(
    catalog: Catalog,
    folders: Iterable[str],
    encoder: GetEncoder,
    allow_empty: bool = False,
    retry_failed: bool = False,
    views: str | None = None,
    local_features: int | None = None,
    check_content: bool = False,
) -> SyncReport:
    """Brings the catalog in line with each folder; the images of other folders stay as they are.

    Args:
      catalog: the catalog; the caller must be its sole writer.
      folders: the folders to synchronise.
      encoder: gives the encoder; called only if there is something to encode.
      allow_empty: whether a folder's images are removed even if none of its files is left.
      retry_failed: whether files that failed before are tried again although they have not changed.
      views: which views each image is to have, see `tfvlad.images.views.parse_views`; None leaves it as it is stored.
      local_features: cells whose local features are to be kept of each image, at most; likewise.
      check_content: whether every file is read, however unchanged it looks.

    Raises:
      ConfigError: a setting cannot work; or a folder is missing, overlaps another root, or holds no image while the
        catalog holds some of it.
    """
    with catalog.read() as snapshot:
        before = snapshot.kept()
    kept = check_kept(
        Kept(
            before.views if views is None else views,
            before.local_features if local_features is None else local_features,
        )
    )
    plan = _plan(catalog, folders, allow_empty)
    with catalog.write() as change:
        change.upgrade()
        if kept != before:
            change.put_kept(kept)
    reports = [
        _RootSync(catalog, root, encoder, allow_empty, retry_failed, kept, check_content).run(files)
        for root, files in plan
    ]
    return SyncReport(
        added=sum(report.added for report in reports),
        updated=sum(report.updated for report in reports),
        removed=sum(report.removed for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        failed=sorted(itertools.chain.from_iterable(report.failed for report in reports)),
        completed=sum(report.completed for report in reports),
        moved=sum(report.moved for report in reports),
        passed_over=dict(sum((collections.Counter(report.passed_over) for report in reports), collections.Counter())),
    )


def check_kept(kept: Kept) -> Kept:
    """Returns what is to be kept of every image.

    Raises:
      ConfigError: it cannot be kept.
    """
    parse_views(kept.views)
    if not 0 <= operator.index(kept.local_features) <= MOST_CELLS:
        raise ConfigError(f"local_features must be 0 to {MOST_CELLS} cells, got {kept.local_features}")
    return kept


def _plan(catalog: Catalog, folders: Iterable[str], allow_empty: bool) -> list[tuple[Root, int]]:
    """Checks every folder before any work is done; gives the root and the number of image files of each."""
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
    """A changed file on its way into the catalog.

    Attributes:
      path: relative to the root.
      stamp: of the bytes.
      sha256: of the bytes.
      file: the file's id in the catalog; None if it is new.
      touched: whether only the stamp has changed, and the bytes have not.
      same: whether the file is known with the same bytes.
      views: the encoded views of the image.
      missing: the views that are given to the encoder; empty when their descriptors have come.
      local: the image's local features; None where they are in the catalog already, or not kept.
      cells: local features of the whole picture that are to be kept, at most; 0 where none are.
      reason: why the file cannot be indexed; None if it can.
      passing: whether that may be otherwise another time, so that the catalog does not keep it.
      twin: an earlier file with the same bytes that is not committed yet; this file takes over what becomes of it.
    """

    path: str
    stamp: Stamp
    sha256: bytes
    file: int | None
    touched: bool = False
    same: bool = False
    views: list[EncodedView] = dataclasses.field(default_factory=list)
    missing: tuple[View, ...] = ()
    local: bytes | None = None
    cells: int = 0
    reason: str | None = None
    passing: bool = False
    twin: _Work | None = None

    def take(self, result: Result) -> None:
        """Stores the encoder's result for the missing views: descriptors and local features, or why there are none."""
        missing, self.missing = self.missing, ()
        if isinstance(result, ImageError):
            self.reason, self.passing = result.reason, isinstance(result, PassingImageError)
            return
        if isinstance(result, Encoded):
            descriptors, local, self.local = result.descriptors, None, result.local if self.cells else None
        else:
            descriptors, local = _unpacked(result)
        if not np.isfinite(descriptors).all():
            self.reason = "its descriptor is not finite"
            return
        self.views += [EncodedView(view.name, to_blob(row)) for view, row in zip(missing, descriptors, strict=True)]
        if self.cells and local is not None:
            self.local = compact(*local, UPRIGHT, self.cells).to_bytes()


def _unpacked(
    result: NDArray[np.float32] | Description | ViewsDescription,
) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], tuple[int, int]] | None]:
    """The descriptors, one for each view, and the map and the size of the whole picture where there are any."""
    if isinstance(result, np.ndarray):
        return result[None], None
    if isinstance(result, Description):
        return result.descriptor[None], (result.features, result.size)
    wholes = [one.features for one in result.passes if one.view == WHOLE]
    return result.descriptors, (wholes[0], result.size) if wholes else None


class _RootSync:
    """The synchronisation of one root. `_sources` runs in the encoder's thread, everything else in the caller's."""

    def __init__(
        self,
        catalog: Catalog,
        root: Root,
        encoder: GetEncoder,
        allow_empty: bool,
        retry_failed: bool,
        kept: Kept,
        check_content: bool,
    ) -> None:
        self._catalog = catalog
        self._root = root
        self._encoder = encoder
        self._views = parse_views(kept.views)
        self._cells = kept.local_features
        names = [view.name for view in self._views]
        self._scan = Scan(catalog, root, retry_failed, names, self._cells > 0, check_content)
        self._allow_empty = allow_empty
        with catalog.read() as snapshot:
            self._last_file = snapshot.last_file()
        self._scanned = False
        self._queue: deque[_Work] = deque()  # from the scan to the batch, in order
        self._in_flight: dict[bytes, _Work] = {}  # by SHA-256: given to the encoder, and not committed yet
        self._wanted: tuple[View, ...] = ()  # of each image that is in the encoder's stream
        self._held: ChangedFile | None = None  # it ended that stream, because it lacks other views
        self._batch: list[_Work] = []
        self._committed = time.monotonic()
        self._added = self._updated = self._touched = self._completed = 0
        self._failed: list[Failure] = []

    def run(self, files: int) -> SyncReport:
        """Scans the folder, which holds so many image files, and commits what changed."""
        changed = self._scan.changed(files)
        try:
            while not self._scanned:
                self._encode(self._sources(changed))
        finally:
            self._commit()  # what was encoded before an interruption stays
        gone, failures = self._scan.vanished()
        if gone.size and not self._allow_empty and not self._scan.is_anything_left():
            raise _emptied(self._root.path, gone.size)  # as when a disk was unplugged meanwhile
        with self._catalog.write() as change:
            moved = change.count_shown_anew(gone, self._last_file)
            change.remove_files(gone)
            change.remove_failures(failures)
        return SyncReport(
            added=self._added - moved,
            updated=self._updated,
            removed=len(gone) - moved,
            unchanged=self._scan.unchanged + self._touched + self._completed,
            failed=self._scan.failures + self._failed,
            completed=self._completed,
            moved=moved,
            passed_over=dict(self._scan.passed_over),
        )

    def _sources(self, changed: Iterator[ChangedFile]) -> Iterator[Source]:
        """Queues the changed files, and gives the encoder those that lack something, as long as they lack the same."""
        unencoded = 0
        self._wanted = ()
        held, self._held = self._held, None
        for file in itertools.chain(() if held is None else (held,), changed):
            work = self._prepare(file)
            if work.missing and self._wanted not in ((), work.missing):
                self._held = file
                return
            self._queue.append(work)
            if work.missing:
                self._wanted = work.missing
                self._in_flight[work.sha256] = work
                yield file.content
            elif (unencoded := unencoded + 1) == _UNENCODED:
                return
        self._scanned = True

    def _prepare(self, file: ChangedFile) -> _Work:
        """Finds out what is to be done for a file."""
        work = _Work(file.path, file.stamp, file.sha256, file.indexed.id if file.indexed else None)
        work.twin = self._in_flight.get(file.sha256)
        # The catalog is asked after that: a file leaves `_in_flight` only when it has been committed.
        with self._catalog.read() as snapshot:
            work.views = snapshot.views_of_content(file.sha256)
            work.cells = 0 if not self._cells or snapshot.has_local_features(file.sha256) else self._cells
        known = {view.view for view in work.views}
        missing = tuple(view for view in self._views if view.name not in known or (work.cells and view == WHOLE))
        work.same = file.indexed is not None and file.indexed.sha256 == file.sha256
        work.touched = work.same and not missing
        if work.touched:
            work.twin = None
        elif work.twin is None:
            work.missing = missing
        return work

    def _encode(self, sources: Iterator[Source]) -> None:
        first = next(sources, None)
        if first is not None:
            stream = self._stream(itertools.chain((first,), sources))
            with contextlib.closing(stream) as results:  # closing it ends the use of `sources` in the other thread
                for result in results:
                    while not self._queue[0].missing:
                        self._put(self._queue.popleft())
                    work = self._queue.popleft()
                    work.take(result)
                    self._put(work)
        while self._queue:
            self._put(self._queue.popleft())

    def _stream(self, sources: Iterator[Source]) -> Generator[Result]:
        """Encodes the wanted views of images."""
        encoder = self._encoder()
        if self._wanted != (WHOLE,):
            return encoder.describe_views(sources, self._wanted)
        return encoder.describe_stream(sources) if self._cells else encoder.encode_stream(sources)

    def _put(self, work: _Work) -> None:
        """Adds a finished file to the batch, and commits the batch if it is full."""
        if work.missing:
            raise RuntimeError("the encoder gave fewer descriptors than it took images")
        if work.twin is not None:
            work.views, work.local = work.twin.views, work.twin.local
            work.reason, work.passing = work.twin.reason, work.twin.passing
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
        elif work.reason is not None:
            if not work.passing:
                change.put_failure(self._root.id, work.path, work.stamp, work.reason)
        else:
            change.put_file(self._root.id, work.path, work.stamp, work.sha256, work.views, work.local)

    def _count(self, work: _Work) -> None:
        if work.reason is not None:
            self._failed.append(Failure(os.path.join(self._root.path, work.path), work.reason))
        elif work.touched:
            self._touched += 1
        elif work.file is None:
            self._added += 1
        elif work.same:
            self._completed += 1
        else:
            self._updated += 1


def _emptied(folder: str, images: int) -> ConfigError:
    state = "holds no image any more" if os.path.isdir(folder) else "is missing"
    ways = "relocate says where it is now, forget or allow_empty remove them"
    return ConfigError(f"{folder} {state}, and the index holds {images} of its images; {ways}")
