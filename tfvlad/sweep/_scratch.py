"""Descriptors on disk while a sweep is at one image size, and how far it has come with them."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Collection, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ArtifactError, ConfigError
from tfvlad.storage.atomic import atomic_file
from tfvlad.storage.json_files import read_json, write_json
from tfvlad.sweep.plan import Stream

Floats = npt.NDArray[np.float32]
Mapped = np.memmap[Any, np.dtype[np.float32]]  # an array in a file, or a part of one

_PLAN = "plan.json"
_SAVE_EVERY = 10.0  # seconds of a pass: what a killed sweep has to do again of it, at most


class Scratch:
    """The folder of one image size.

    Attributes:
      folder: where it is.
      streams: the descriptors that are being made there.
    """

    def __init__(self, folder: str, key: str, streams: Sequence[Stream], known: Collection[Stream]) -> None:
        """Goes on in the folder if it is of the same work and makes all of these; else clears it and starts anew.

        Args:
          folder: may be there already.
          key: names everything that shapes the descriptors, and which image each row is of.
          streams: those still needed.
          known: those that can be made. What was begun with others among them cannot go on.

        Raises:
          ConfigError: see `delete`.
        """
        self.folder = folder
        plan = read_json(self.path(_PLAN))
        if plan is not None and plan["key"] == key:
            before = [Stream(*stream) for stream in plan["streams"]]
            if set(streams) <= set(before) <= set(known):
                self.streams = before
                return
        self.streams = list(streams)
        self.delete()
        write_json(self.path(_PLAN), {"key": key, "streams": self.streams})

    def path(self, name: str) -> str:
        """Of a file in the folder."""
        return os.path.join(self.folder, name)

    def codebook(self, stream: Stream) -> str:
        """Path of the codebook of a VLAD, (K, C) float32 in NumPy's format."""
        return self.path(f"codebook-{self.streams.index(stream)}.npy")

    def arrays(self, name: str, shapes: Sequence[tuple[int, ...]]) -> list[Mapped]:
        """Arrays in one file, of the same shapes each time; zeros at first.

        Raises:
          ConfigError: there is no space for them.
          ArtifactError: the file that is there holds others.
        """
        path = self.path(name)
        values = sum(map(math.prod, shapes))
        if not os.path.exists(path):
            with atomic_file(path) as temporary, open(temporary, "wb") as file:
                _reserve(file, values, path)
        elif os.path.getsize(path) != 4 * values:  # mapped, it would be extended by zeros
            raise ArtifactError(
                path, f"must have {4 * values} bytes, has {os.path.getsize(path)}; delete {self.folder}"
            )
        return _split(np.memmap(path, np.float32, "r+", shape=(values,)), shapes)

    def temporary(self, shape: tuple[int, ...]) -> Floats:
        """An array on disk that goes with its last user.

        Raises:
          ConfigError: there is no space for it.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:
            _reserve(file, math.prod(shape), self.folder)
            return np.memmap(file, np.float32, "r+", shape=shape)

    def remove(self, name: str) -> None:
        """Removes a file, where it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def delete(self) -> None:
        """Deletes all files, the plan last: by it the folder is known as a sweep's.

        Raises:
          ConfigError: the folder holds files and no plan, and so is somebody else's.
        """
        names = sorted(os.listdir(self.folder), key=lambda name: name == _PLAN) if os.path.isdir(self.folder) else []
        if _PLAN in names:
            for name in names:
                if not os.path.isdir(self.path(name)):
                    os.unlink(self.path(name))
            with contextlib.suppress(OSError):  # a folder is not ours; NFS keeps the names of mapped files
                os.rmdir(self.folder)
        elif any(not name.startswith(".") for name in names):  # a file that was being written starts with one
            raise ConfigError(f"{self.folder} is no sweep's; give another output folder, or move it away")


class Progress:
    """How many of a pass's images are done, and which of them failed.

    Attributes:
      done: images of the input, from the first.
      failures: position -> what is wrong with the image.
    """

    def __init__(self, path: str) -> None:
        """Takes up what was saved there."""
        saved = read_json(path) or {"done": 0, "failures": {}}
        self.done: int = saved["done"]
        self.failures = {int(position): reason for position, reason in saved["failures"].items()}
        self._path = path
        self._saved = time.monotonic()

    def advance(self, done: int, held: Mapped) -> None:
        """Notes that so many are done; from time to time it saves."""
        self.done = done
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            self.save(held)

    def save(self, held: Mapped) -> None:
        """Writes first what the file of an array holds, then how far that is."""
        held.flush()
        write_json(self._path, {"done": self.done, "failures": self.failures})
        self._saved = time.monotonic()


def scratch_folder(folder: str) -> str:
    """Where in an output folder the work at one image size lies while it is done."""
    return os.path.join(folder, "scratch")


def _reserve(file: IO[bytes], values: int, path: str) -> None:
    """Takes the space of so many float32: a disk found full only when a mapped page is written ends the process."""
    try:
        os.posix_fallocate(file.fileno(), 0, 4 * values)
    except OSError as error:
        raise ConfigError(f"{path} cannot hold {4 * values / 1e6:,.0f} MB: {error.strerror}") from None


def _split(flat: Mapped, shapes: Sequence[tuple[int, ...]]) -> list[Mapped]:
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts: list[Any] = np.split(flat, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
