"""Descriptors on disk while a sweep is at one image size, and how far it has come with them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.atomic import atomic_file
from tfvlad.errors import ConfigError
from tfvlad.sweep.plan import Stream

Floats = npt.NDArray[np.float32]

_PLAN = "plan.json"
_SAVE_EVERY = 10.0  # seconds: what a killed sweep has to do again, at most


class Scratch:
    """The folder of one image size.

    Attributes:
      folder: where it is.
      streams: the descriptors that are being made there.
    """

    def __init__(self, folder: str, key: str, streams: Sequence[Stream]) -> None:
        """Goes on in the folder if it is of the same work and makes all of these; else clears it and starts anew.

        Args:
          folder: may be there already.
          key: names everything that shapes the descriptors.
          streams: those still needed.
        """
        self.folder = folder
        self.streams = list(streams)
        plan = _read_json(self.path(_PLAN))
        if plan is not None and plan["key"] == key:
            before = [Stream(*stream) for stream in plan["streams"]]
            if set(streams) <= set(before):
                self.streams = before
                return
        self.delete()
        _write_json(self.path(_PLAN), {"key": key, "streams": self.streams})

    def path(self, name: str) -> str:
        """Of a file in the folder."""
        return os.path.join(self.folder, name)

    def codebook(self, stream: Stream) -> str:
        """Path of the codebook of a VLAD, (K, C) float32 in NumPy's format."""
        return self.path(f"codebook-{self.streams.index(stream)}.npy")

    def rows(self, stream: Stream, count: int, size: int) -> Floats:
        """The descriptors of a stream, (count, size), in a file; zeros where none is written yet."""
        return self.array(f"rows-{self.streams.index(stream)}", (count, size))

    def array(self, name: str, shape: tuple[int, ...]) -> Floats:
        """An array in a file of its own, of the same shape each time; zeros at first.

        Raises:
          ConfigError: there is no space for it.
        """
        path = self.path(name)
        if 0 in shape:
            return np.zeros(shape, np.float32)
        if not os.path.exists(path):
            size = 4 * int(np.prod(shape))
            with open(path, "wb") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, size)  # a full disk would end the process later on
                except OSError as error:
                    os.unlink(path)
                    raise ConfigError(f"{path} cannot hold {size / 1e9:.1f} GB: {error.strerror}") from None
        return np.memmap(path, np.float32, "r+", shape=shape)

    def delete(self) -> None:
        """Deletes everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Progress:
    """How many of a pass's images are done, and which of them failed.

    Attributes:
      done: images of the input, from the first.
      failures: position -> what is wrong with the image.
    """

    def __init__(self, path: str) -> None:
        """Takes up what was saved there."""
        saved = _read_json(path) or {"done": 0, "failures": {}}
        self.done: int = saved["done"]
        self.failures = {int(position): reason for position, reason in saved["failures"].items()}
        self._path = path
        self._saved = time.monotonic()

    def advance(self, done: int, arrays: Sequence[Floats]) -> None:
        """Notes that so many are done; from time to time it saves."""
        self.done = done
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            self.save(arrays)

    def save(self, arrays: Sequence[Floats]) -> None:
        """Writes first what the arrays hold, then how far that is."""
        for array in arrays:
            if isinstance(array, np.memmap):
                array.flush()
        _write_json(self._path, {"done": self.done, "failures": self.failures})
        self._saved = time.monotonic()


def _read_json(path: str) -> Any:
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _write_json(path: str, value: Any) -> None:
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
