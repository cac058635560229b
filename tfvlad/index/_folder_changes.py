"""The scan: finds what has changed in a folder of images since it was last synchronised."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import stat
from array import array
from collections.abc import Iterator, Sequence

import numpy as np

from tfvlad.errors import Failure
from tfvlad.images.files import read_regular
from tfvlad.images.listing import PassedOver, list_images, too_large
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, FailureRow, FileRow, Ids, Stamp
from tfvlad.progress import FASTER, Progress

# SQLite's largest integer. Some file systems have numbers, and dates so late, that do not fit.
_LARGEST = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class ChangedFile:
    """A file that is new, that differs from what the catalog knows of it, or whose image is incomplete.

    Attributes:
      path: relative to the root.
      stamp: of the bytes that were read.
      sha256: of the bytes that were read.
      content: the bytes that were read.
      indexed: the file as it is in the catalog; None if it is not there.
    """

    path: str
    stamp: Stamp
    sha256: bytes
    content: bytes
    indexed: FileRow | None


class Scan:
    """One walk over a root's folder, compared with the catalog as it was when the scan was made.

    Args:
      catalog: the catalog.
      root: whose folder is walked over.
      retry_failed: whether files that failed before are read again although they have not changed.
      views: names of the views that every image must have.
      local_features: whether every image must have its local features.
      check_content: whether every file is read, however unchanged it looks.

    Attributes:
      unchanged: the number of files that are as they were.
      failures: files that failed earlier and have not changed since, and whatever could not be read at all.
      passed_over: files that are not taken for images, by suffix.
    """

    def __init__(
        self,
        catalog: Catalog,
        root: Root,
        retry_failed: bool,
        views: Sequence[str],
        local_features: bool,
        check_content: bool = False,
    ) -> None:
        self.unchanged = 0
        self.failures: list[Failure] = []
        self.passed_over: PassedOver = collections.Counter()
        self._catalog = catalog
        self._root = root
        self._retry_failed = retry_failed or check_content
        self._check_content = check_content
        with catalog.read() as snapshot:
            self._files, self._failures = snapshot.file_ids(root.id), snapshot.failure_ids(root.id)
            self._incomplete = frozenset(snapshot.incomplete_files(root.id, views, local_features).tolist())
        self._seen_files, self._seen_failures = array("q"), array("q")
        self._unlisted: list[str] = []  # folders, relative to the root

    def changed(self, files: int) -> Iterator[ChangedFile]:
        """Walks the folder and gives the new and changed files; call it once.

        Args:
          files: the number of image files in the folder, for the progress bar.
        """
        if not os.path.isdir(self._root.path):
            return
        name = os.path.basename(self._root.path)
        walk = list_images(self._root.path, self._not_listed, self.passed_over)
        with Progress(walk, name, files, if_long=FASTER) as paths:
            for path in paths:
                if (file := self._look(path)) is not None:
                    yield file

    def vanished(self) -> tuple[Ids, Ids]:
        """Gives the ids of the indexed files, and of the failures, whose files are gone; call it after the walk."""
        files = np.setdiff1d(self._files, np.array(self._seen_files, dtype=np.int64))
        failures = np.setdiff1d(self._failures, np.array(self._seen_failures, dtype=np.int64))
        if self._unlisted:  # the files in there may still exist, so the index keeps them
            folders = tuple(self._unlisted)
            with self._catalog.read() as snapshot:
                unknown = [file for file, _, path in snapshot.locate_files(files) if path.startswith(folders)]
            files, failures = np.setdiff1d(files, unknown), failures[:0]
        return files, failures

    def is_anything_left(self) -> bool:
        """Whether the folder exists now and holds an image."""
        return os.path.isdir(self._root.path) and any(True for _ in list_images(self._root.path))

    def _look(self, path: str) -> ChangedFile | None:
        """Reads a file if it is new or has changed; counts it, or notes its failure, otherwise."""
        full = os.path.join(self._root.path, path)
        image, failure = self._known(path)
        try:
            status = os.stat(full)
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                self._fail(full, "is not a regular file")
                return None
            looks_unchanged = image is not None and image.stamp == _stamp(status) and image.id not in self._incomplete
            if looks_unchanged and not self._check_content:
                self.unchanged += 1
                self._saw(image, None)
                return None
            if failure is not None and failure.stamp == _stamp(status) and not self._retry_failed:
                self._fail(full, failure.reason)
                self._saw(None, failure)
                return None
            if reason := too_large(status.st_size):
                self._fail(full, reason)
                self._saw(image, failure)
                return None
            content, status = read_regular(full)
        except FileNotFoundError:  # gone since it was listed
            if os.path.islink(full):
                self._fail(full, "is a link to nothing")
            return None
        except OSError as error:  # perhaps only for the moment, so the index keeps the file
            self._fail(full, f"cannot be read: {error.strerror}")
            self._saw(image, failure)
            return None
        self._saw(image, failure)
        stamp, sha256 = _stamp(status), hashlib.sha256(content).digest()
        if looks_unchanged and image is not None and (image.stamp, image.sha256) == (stamp, sha256):
            self.unchanged += 1
            return None
        return ChangedFile(path, stamp, sha256, content, image)

    def _known(self, path: str) -> tuple[FileRow | None, FailureRow | None]:
        if not (self._files.size or self._failures.size):  # a first synchronisation: there is nothing to look up
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
    if os.name != "posix":  # Windows' ctime is the time of creation
        return Stamp(status.st_size, status.st_mtime_ns & _LARGEST)
    numbers = (status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
    return Stamp(status.st_size, *(number & _LARGEST for number in numbers))
