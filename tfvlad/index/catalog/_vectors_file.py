"""The descriptors in a file of plain numbers beside the catalog: SQLite hands out row by row, far slower than memory.

The catalog stays the truth. The file stands for one of its states, and is used if the catalog recorded its digest with
that state: descriptors that were removed since are left out, and those that were added since are read from the catalog.
A file that is missing, damaged or too old costs time and nothing else.

It holds the (n,) ids and the (n,) images of the descriptors, int64, and their vectors, (n, dim) float32, all
little-endian and in the order of the ids; n follows from its size. It is read and not mapped: a file that somebody
makes shorter while it is mapped ends the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfvlad.errors import ArtifactError
from tfvlad.index.catalog._connections import Seal
from tfvlad.index.catalog._rows import Block, Ids, State
from tfvlad.storage.atomic import atomic_file

FILE_NAME = "descriptors.bin"


class VectorsRow(NamedTuple):
    """What the catalog records of the file.

    Attributes:
      sha256: of its bytes, in hexadecimal digits.
      state: of the catalog that it stands for.
    """

    sha256: str
    state: State


class VectorsFile:
    """The file of one index folder; threads may share it."""

    def __init__(self, folder: str, dim: int) -> None:
        self._path = os.path.join(folder, FILE_NAME)
        self._dim = dim
        self._lock = threading.Lock()
        self._checked: tuple[Seal, str] | None = None  # the file whose digest was computed last, and the digest

    def stands_for(self, descriptors: int) -> bool:
        """Whether a file of so many descriptors is there; its digest is not looked at."""
        with contextlib.suppress(OSError):
            return os.stat(self._path).st_size == descriptors * self._row_bytes
        return False

    @contextlib.contextmanager
    def opened(self, row: VectorsRow) -> Iterator[OpenVectors | None]:
        """Opens the file that the catalog recorded; None where the one that is there is another."""
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(self._path, "rb", buffering=0))
            except OSError:
                yield None
                return
            yield OpenVectors(file, self._dim) if self._digest(file) == row.sha256 else None

    def write(self, blocks: Iterable[Block], count: int) -> str:
        """Writes the file, whole or not at all, and returns its digest.

        Args:
          blocks: the descriptors by their ids.
          count: how many there are.

        Raises:
          ArtifactError: the file cannot be written.
        """
        try:
            with atomic_file(self._path) as temporary, open(temporary, "r+b") as file:
                places, vectors = 0, 2 * 8 * count
                for block in blocks:
                    for start, numbers in (
                        (8 * places, block.descriptors.astype("<i8")),
                        (8 * (count + places), block.images.astype("<i8")),
                        (vectors + 4 * self._dim * places, block.vectors.astype("<f4")),
                    ):
                        file.seek(start)
                        file.write(np.ascontiguousarray(numbers).data)
                    places += len(block.descriptors)
                file.flush()
                file.seek(0)
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ArtifactError(self._path, f"cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Removes the file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    @property
    def _row_bytes(self) -> int:
        return 2 * 8 + 4 * self._dim

    def _digest(self, file: io.FileIO) -> str | None:
        """The digest of a file; None of one that is no file of descriptors."""
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size % self._row_bytes:
            return None
        seal = Seal.from_status(status)
        with self._lock:
            if self._checked is None or self._checked[0] != seal:
                self._checked = seal, hashlib.file_digest(file, "sha256").hexdigest()
            return self._checked[1]


class OpenVectors:
    """A file of descriptors, open for reading."""

    def __init__(self, file: io.FileIO, dim: int) -> None:
        self._file, self._dim = file, dim
        self._count = os.fstat(file.fileno()).st_size // (2 * 8 + 4 * dim)

    def blocks(self, size: int, after: int, removed: Ids) -> Iterator[Block]:
        """The descriptors with an id above `after`, by id, in blocks of at most `size`, without the removed ones."""
        descriptors = self._numbers("<i8", 0, self._count)
        first = int(np.searchsorted(descriptors, after, side="right"))
        for start in range(first, self._count, size):
            count = min(size, self._count - start)
            ids = descriptors[start : start + count]
            images = self._numbers("<i8", 8 * (self._count + start), count)
            vectors = self._numbers("<f4", 2 * 8 * self._count + 4 * self._dim * start, count * self._dim)
            vectors = vectors.reshape(count, self._dim)
            if removed.size and (gone := np.isin(ids, removed)).any():
                ids, images, vectors = ids[~gone], images[~gone], vectors[~gone]
            if len(ids):
                yield Block(ids, images, vectors)

    def _numbers(self, kind: str, offset: int, count: int) -> NDArray[Any]:
        numbers = np.empty(count, kind)
        left = numbers.data.cast("B")
        while left:
            read = os.preadv(self._file.fileno(), [left], offset)
            if not read:
                raise ArtifactError(str(self._file.name), "was made shorter while it was read; try again")
            left, offset = left[read:], offset + read
        return numbers
