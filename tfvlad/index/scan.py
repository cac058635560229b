"""What changed in a folder of images since the catalog last saw it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from array import array
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from tfvlad.images.listing import LARGEST_FILE, list_images
from tfvlad.index.catalog.catalog import Catalog
from tfvlad.index.catalog.reading import FailureRow, FileRow, Ids, Stamp
from tfvlad.index.roots import Root


@dataclasses.dataclass(frozen=True, order=True)
class Failure:
    """A file or folder that could not be indexed.

    Attributes:
      path: the full path.
      reason: one line, without the path.
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ChangedFile:
    """A file that is new, or whose size or modification time is not the one in the catalog.

    Attributes:
      path: relative to the root.
      stamp: of the bytes read.
      sha256: of the bytes read.
      content: the bytes.
      indexed: the catalog's row of an earlier content.
    """

    path: str
    stamp: Stamp
    sha256: bytes
    content: bytes
    indexed: FileRow | None


class Scan:
    """One walk over a root, compared with the catalog as it was when the scan was made.

    Attributes:
      unchanged: files that need nothing.
      failures: files that failed earlier and have not changed since, and what could not be read at all.
    """

    def __init__(self, catalog: Catalog, root: Root, retry_failed: bool) -> None:
        self.unchanged = 0
        self.failures: list[Failure] = []
        self._catalog = catalog
        self._root = root
        self._retry_failed = retry_failed
        with catalog.read() as snapshot:
            self._files, self._failures = snapshot.file_ids(root.id), snapshot.failure_ids(root.id)
        self._seen_files, self._seen_failures = array("q"), array("q")
        self._unlisted: list[str] = []  # folders, relative to the root

    def changed(self, files: int) -> Iterator[ChangedFile]:
        """Walks the folder, once.

        Args:
          files: images in it, for the progress bar.
        """
        if not os.path.isdir(self._root.path):
            return
        name = os.path.basename(self._root.path)
        walk = list_images(self._root.path, onerror=self._not_listed)
        with tqdm(walk, desc=name, total=files, unit=" images", disable=None, delay=2) as paths:
            for path in paths:
                if (file := self._look(path)) is not None:
                    yield file

    def vanished(self) -> tuple[Ids, Ids]:
        """After the walk: the indexed files, and the failures, that are gone."""
        files = np.setdiff1d(self._files, np.array(self._seen_files, dtype=np.int64))
        failures = np.setdiff1d(self._failures, np.array(self._seen_failures, dtype=np.int64))
        if self._unlisted:  # nobody knows what is in there: what is indexed of it stays
            folders = tuple(self._unlisted)
            with self._catalog.read() as snapshot:
                unknown = [file for file, _, path in snapshot.locate_files(files) if path.startswith(folders)]
            files, failures = np.setdiff1d(files, unknown), failures[:0]
        return files, failures

    def is_anything_left(self) -> bool:
        """Whether the folder is there now, and an image in it."""
        return os.path.isdir(self._root.path) and any(True for _ in list_images(self._root.path))

    def _look(self, path: str) -> ChangedFile | None:
        full = os.path.join(self._root.path, path)
        image, failure = self._known(path)
        try:
            status = os.stat(full)
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                self._fail(full, "is not a regular file")
                return None
            if image is not None and image.stamp == _stamp(status):
                self.unchanged += 1
                self._saw(image, None)
                return None
            if failure is not None and failure.stamp == _stamp(status) and not self._retry_failed:
                self._fail(full, failure.reason)
                self._saw(None, failure)
                return None
            if status.st_size > LARGEST_FILE:
                self._fail(full, f"{status.st_size} bytes are more than an image file may have ({LARGEST_FILE})")
                self._saw(image, failure)
                return None
            with open(full, "rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                # What is there and no more: a buffer for the largest file would cost more than reading a small one.
                content = file.read(min(stamp.size or LARGEST_FILE, LARGEST_FILE))
        except FileNotFoundError:  # gone since it was listed
            if os.path.islink(full):
                self._fail(full, "is a link to nothing")
            return None
        except OSError as error:  # perhaps for the moment only: what is indexed of it stays
            self._fail(full, f"cannot be read: {error.strerror}")
            self._saw(image, failure)
            return None
        self._saw(image, failure)
        return ChangedFile(path, stamp, hashlib.sha256(content).digest(), content, image)

    def _known(self, path: str) -> tuple[FileRow | None, FailureRow | None]:
        if not (self._files.size or self._failures.size):  # and nobody else writes
            return None, None
        with self._catalog.read() as snapshot:
            return snapshot.find_file(self._root.id, path), snapshot.find_failure(self._root.id, path)

    def _saw(self, image: FileRow | None, failure: FailureRow | None) -> None:
        if image is not None:
            self._seen_files.append(image.id)
        if failure is not None:
            self._seen_failures.append(failure.id)

    def _fail(self, full: str, reason: str) -> None:
        self.failures.append(Failure(full, reason))

    def _not_listed(self, error: OSError) -> None:
        folder = os.fsdecode(error.filename)
        self._fail(folder, f"cannot be listed: {error.strerror}")
        relative = os.path.relpath(folder, self._root.path)
        self._unlisted.append("" if relative == os.curdir else os.path.join(relative, ""))


def _stamp(status: os.stat_result) -> Stamp:
    # Some file systems keep dates that nanoseconds in SQLite's 64 bits cannot hold.
    return Stamp(status.st_size, status.st_mtime_ns & 0x7FFF_FFFF_FFFF_FFFF)
