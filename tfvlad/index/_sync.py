"""Synchronisation: brings a catalog in line with folders of images.

The scan runs in the thread that feeds the encoder. It finds the files that changed and reads them, so that the bytes
that are hashed are the bytes that are encoded. The calling thread takes the descriptors and commits them to the catalog
batch by batch, so that an interrupted synchronisation goes on where it stopped.
"""

from __future__ import annotations

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

from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.images.listing import list_images
from tfvlad.images.views import WHOLE, parse_views, render_views
from tfvlad.index._compact import compact
from tfvlad.index._folders import Root, find_root, place
from tfvlad.index._scan import ChangedFile, Scan
from tfvlad.index.catalog import Catalog, Change, EncodedView, Kept, Stamp, to_blob
from tfvlad.matching.local_features import MOST_CELLS

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder, Description
    from tfvlad.images.loading import Source

GetEncoder: TypeAlias = Callable[[], "AnyEncoder"]  # loads the encoder when it is first called
# A (dim,) descriptor, perhaps with local features, or why there is none.
Result: TypeAlias = "NDArray[np.float32] | Description | ImageError"

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
    """

    added: int
    updated: int
    removed: int
    unchanged: int
    failed: list[Failure]
    completed: int = 0


def synchronise(
    catalog: Catalog,
    folders: Iterable[str],
    encoder: GetEncoder,
    allow_empty: bool = False,
    retry_failed: bool = False,
    views: str | None = None,
    local_features: int | None = None,
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
    if kept != before:
        with catalog.write() as change:
            change.put_kept(kept)
    reports = [_RootSync(catalog, root, encoder, allow_empty, retry_failed, kept).run(files) for root, files in plan]
    return SyncReport(
        added=sum(report.added for report in reports),
        updated=sum(report.updated for report in reports),
        removed=sum(report.removed for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        failed=sorted(itertools.chain.from_iterable(report.failed for report in reports)),
        completed=sum(report.completed for report in reports),
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
      views: the encoded views of the image; complete when `missing` is empty.
      missing: names of the views that were given to the encoder, whose descriptors have not come yet.
      local: the image's local features; None where they are in the catalog already, or not kept.
      cells: local features of the whole picture that are to be kept, at most; 0 where none are.
      reason: why the file cannot be indexed; None if it can.
      twin: an earlier file with the same bytes that is not committed yet; this file takes over what becomes of it.
    """

    path: str
    stamp: Stamp
    sha256: bytes
    file: int | None
    touched: bool = False
    same: bool = False
    views: list[EncodedView] = dataclasses.field(default_factory=list)
    missing: deque[str] = dataclasses.field(default_factory=deque)
    local: bytes | None = None
    cells: int = 0
    reason: str | None = None
    twin: _Work | None = None

    def take(self, result: Result) -> None:
        """Takes the encoder's result for the first of the missing views."""
        name = self.missing.popleft()
        if isinstance(result, ImageError):
            self.reason = result.reason
            return
        descriptor = result if isinstance(result, np.ndarray) else result.descriptor
        if not np.isfinite(descriptor).all():
            self.reason = "its descriptor is not finite"
            return
        self.views.append(EncodedView(name, to_blob(descriptor)))
        if self.cells and name == WHOLE.name and not isinstance(result, np.ndarray):
            self.local = compact(result.features, result.size, limit=self.cells).to_bytes()


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
    ) -> None:
        self._catalog = catalog
        self._root = root
        self._encoder = encoder
        self._views = parse_views(kept.views)
        self._cells = kept.local_features
        names = [view.name for view in self._views]
        self._scan = Scan(catalog, root, retry_failed, names, local_features=self._cells > 0)
        self._allow_empty = allow_empty
        self._scanned = False
        self._queue: deque[_Work] = deque()  # from the scan to the batch, in order
        self._in_flight: dict[bytes, _Work] = {}  # by SHA-256: given to the encoder, and not committed yet
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
            change.remove_files(gone)
            change.remove_failures(failures)
        return SyncReport(
            added=self._added,
            updated=self._updated,
            removed=len(gone),
            unchanged=self._scan.unchanged + self._touched + self._completed,
            failed=self._scan.failures + self._failed,
            completed=self._completed,
        )

    def _sources(self, changed: Iterator[ChangedFile]) -> Iterator[Source]:
        """Queues every changed file, and gives the encoder's inputs for the views that are not in the catalog yet."""
        unencoded = 0
        for file in changed:
            work, sources = self._prepare(file)
            self._queue.append(work)
            if work.missing:
                self._in_flight[work.sha256] = work
                yield from sources
            elif (unencoded := unencoded + 1) == _UNENCODED:
                return
        self._scanned = True

    def _prepare(self, file: ChangedFile) -> tuple[_Work, Iterator[Source]]:
        """Finds out what is to be done for a file, and gives the encoder's inputs for it."""
        work = _Work(file.path, file.stamp, file.sha256, file.indexed.id if file.indexed else None)
        work.twin = self._in_flight.get(file.sha256)
        # The catalog is asked after that: a file leaves `_in_flight` only when it has been committed.
        with self._catalog.read() as snapshot:
            work.views = snapshot.views_of_content(file.sha256)
            work.cells = 0 if not self._cells or snapshot.has_local_features(file.sha256) else self._cells
        known = {view.view for view in work.views}
        missing = [view for view in self._views if view.name not in known or (work.cells and view == WHOLE)]
        work.same = file.indexed is not None and file.indexed.sha256 == file.sha256
        work.touched = work.same and not missing
        if work.touched:
            work.twin = None
        elif missing and work.twin is None:
            try:
                sources = render_views(
                    file.content, missing, lambda: self._encoder().image_size, lambda: self._encoder().max_pixels
                )
            except ImageError as error:
                work.reason = error.reason
            else:
                work.missing.extend(view.name for view in missing)
                return work, sources
        return work, iter(())

    def _encode(self, sources: Iterator[Source]) -> None:
        first = next(sources, None)
        if first is not None:
            encoder = self._encoder()
            stream: Generator[Result] = (encoder.describe_stream if self._cells else encoder.encode_stream)(
                itertools.chain((first,), sources)
            )
            with contextlib.closing(stream) as results:  # closing it ends the use of `sources` in the other thread
                for result in results:
                    while not self._queue[0].missing:
                        self._put(self._queue.popleft())
                    work = self._queue[0]
                    work.take(result)
                    if not work.missing:
                        self._put(self._queue.popleft())
        while self._queue:
            self._put(self._queue.popleft())

    def _put(self, work: _Work) -> None:
        """Adds a finished file to the batch, and commits the batch if it is full."""
        if work.missing:
            raise RuntimeError("the encoder gave fewer descriptors than it took images")
        if work.twin is not None:
            work.views, work.local, work.reason = work.twin.views, work.twin.local, work.twin.reason
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
    return ConfigError(f"{folder} {state}, and the index holds {images} of it; allow_empty removes them")
