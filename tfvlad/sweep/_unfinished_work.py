"""Unfinished work at one image size, kept on disk so that a sweep that was killed goes on where it was.

`Scratch` is the folder with arrays and codebooks; `run_pass` fills its arrays from a stream of images, and
`PassProgress` knows how many of the images are done.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.errors import ArtifactError, ConfigError, ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.evaluation.queries_and_results import query_source
from tfvlad.images.batching import Rejected, overlapped
from tfvlad.images.sources import Source
from tfvlad.storage.atomic import atomic_file, read_json, write_json
from tfvlad.sweep.grid import DescriptorKind

Floats = npt.NDArray[np.float32]
Mapped = np.memmap[Any, np.dtype[np.float32]]  # an array in a file, or a part of one

Key = TypeVar("Key", bound=Hashable)

_PLAN = "plan.json"
_SAVE_EVERY = 10.0  # seconds; a sweep that is killed has to repeat so much of a pass at most


class Scratch:
    """The folder of unfinished work at one image size.

    Attributes:
      folder: its path.
      kinds: the kinds of descriptors that are computed there.
    """

    def __init__(
        self, folder: str, key: str, kinds: Sequence[DescriptorKind], known: Collection[DescriptorKind]
    ) -> None:
        """Goes on with what is in the folder if that is the same work and holds all these kinds; else starts anew.

        Args:
          folder: may be there already.
          key: the name of everything that shapes the descriptors, and of which image each row is of.
          kinds: the kinds that are still needed.
          known: the kinds that can be computed. Work that was begun with others among them cannot go on.

        Raises:
          ConfigError: see `delete`.
        """
        self.folder = folder
        plan = read_json(self.path(_PLAN))
        before = _kinds_of(plan, key)
        if before is not None and set(kinds) <= set(before) <= set(known):
            self.kinds = before
            return
        self.kinds = list(kinds)
        self.delete()
        write_json(self.path(_PLAN), {"key": key, "streams": self.kinds})

    def path(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.folder, name)

    def codebook(self, kind: DescriptorKind) -> str:
        """The path of the codebook of a VLAD, (K, C) float32 in NumPy's format."""
        return self.path(f"codebook-{self.kinds.index(kind)}.npy")

    def arrays(self, name: str, shapes: Sequence[tuple[int, ...]]) -> list[Mapped]:
        """Maps arrays that lie in one file. They are zeros at first, and must have the same shapes each time.

        Raises:
          ConfigError: there is no space for them.
          ArtifactError: the file exists and has another size.
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
        """Makes an array on disk that is deleted when nobody uses it any more.

        Raises:
          ConfigError: there is no space for it.
        """
        with tempfile.TemporaryFile(dir=self.folder) as file:
            _reserve(file, math.prod(shape), self.folder)
            return np.memmap(file, np.float32, "r+", shape=shape)

    def remove(self, name: str) -> None:
        """Deletes a file if it exists."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))

    def delete(self) -> None:
        """Deletes all files and the folder. The plan goes last, as a folder with a plan is known to be a sweep's.

        Raises:
          ConfigError: the folder holds files but no plan, so that it belongs to somebody else.
        """
        names = sorted(os.listdir(self.folder), key=lambda name: name == _PLAN) if os.path.isdir(self.folder) else []
        if _PLAN in names:
            for name in names:
                if not os.path.isdir(self.path(name)):
                    os.unlink(self.path(name))
            with contextlib.suppress(OSError):  # sub-folders are not ours; NFS keeps the names of mapped files
                os.rmdir(self.folder)
        elif any(not name.startswith(".") for name in names):  # files that are being written begin with a dot
            raise ConfigError(f"{self.folder} is no sweep's; give another output folder, or move it away")


def _kinds_of(plan: Any, key: str) -> list[DescriptorKind] | None:
    """The kinds of descriptors of unfinished work; None where it is other work, or its plan is damaged."""
    try:
        return [DescriptorKind(*kind) for kind in plan["streams"]] if plan["key"] == key else None
    except (KeyError, TypeError):
        return None


class PassProgress:
    """How many images of a pass are done, and which of them failed; saved from time to time.

    Attributes:
      done: the number of images that are done, counted from the first.
      failures: position -> why the image cannot be used.
    """

    def __init__(self, path: str) -> None:
        """Reads what was saved in this JSON file, if anything was; from a damaged one nothing is taken over."""
        self.done = 0
        self.failures: dict[int, str] = {}
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            saved = read_json(path)
            failures = {int(position): str(reason) for position, reason in saved["failures"].items()}
            if type(saved["done"]) is int and saved["done"] >= 0 and all(0 <= one < saved["done"] for one in failures):
                self.done, self.failures = saved["done"], failures
        self._path = path
        self._saved = time.monotonic()

    def advance(self, done: int, array: Mapped) -> None:
        """Notes that so many images are done, and saves if the last time was long ago."""
        self.done = done
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            self.save(array)

    def save(self, array: Mapped) -> None:
        """Writes the file that an array lies in to disk, and only then how many images are done."""
        array.flush()
        write_json(self._path, {"done": self.done, "failures": self.failures})
        self._saved = time.monotonic()


def run_pass(
    extractor: FeatureExtractor[Key],
    images: Sequence[Query],
    progress: PassProgress,
    array: Mapped,
    store: Callable[[list[int], FeatureBatch[Key]], None],
    max_pixels: int,
    advance: Callable[[int], None],
) -> None:
    """Runs the network over the images that are not done yet; decoding, the network and `store` work at once.

    Args:
      extractor: runs the network.
      images: all images of the pass.
      progress: how many are done; failures are noted there.
      array: an array in the file that `store` writes to.
      store: takes the positions in `images` of a batch, and what the network gives for it.
      max_pixels: see `tfvlad.EncoderConfig`.
      advance: called with the number of images done since its last call.
    """
    first = progress.done
    reasons: dict[int, str] = {}  # why boxes could not be cut out
    stopped = False

    def sources() -> Iterator[Source]:
        for position, image in enumerate(images[first:], first):
            try:
                yield query_source(image, max_pixels)
            except ImageError as error:
                reasons[position] = error.reason
                yield b""

    def take(step: FeatureBatch[Key] | Rejected | int) -> int:
        nonlocal stopped
        if stopped:  # an earlier step failed half-way, so that later ones must not count as done
            return 0
        stopped = True
        if isinstance(step, FeatureBatch):
            store([first + position for position in step.positions], step)
        elif isinstance(step, tuple):
            position = first + step[0]
            progress.failures[position] = reasons.get(position, step[1].reason)
        else:
            progress.advance(first + step, array)
        stopped = False
        return step if isinstance(step, int) else 0

    before = 0
    try:
        for done in overlapped(_steps(extractor, sources()), take):
            if done:
                advance(done - before)
                before = done
    finally:
        progress.save(array)


def _steps(extractor: FeatureExtractor[Key], sources: Iterable[Source]) -> Iterator[FeatureBatch[Key] | Rejected | int]:
    """Extracts a batch at a time, as the outputs of a whole window would take too much memory.

    Yields:
      Batches; (position, error) for each image that gives nothing; and after each window the number of images that are
      done.
    """
    done = 0
    for window in extractor.batches(sources):
        for batch in window:
            yield from extractor.extracted(batch)
            done += 1 if isinstance(batch, tuple) else len(batch.positions)
        yield done


def _reserve(file: IO[bytes], values: int, path: str) -> None:
    """Reserves the disk space of so many float32: if a mapped page finds the disk full later, the process is killed."""
    try:
        os.posix_fallocate(file.fileno(), 0, 4 * values)
    except OSError as error:
        raise ConfigError(f"{path} cannot hold {4 * values / 1e6:,.0f} MB: {error.strerror}") from None


def _split(flat: Mapped, shapes: Sequence[tuple[int, ...]]) -> list[Mapped]:
    """Cuts a flat array into arrays of these shapes, without copying."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts: list[Any] = np.split(flat, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
