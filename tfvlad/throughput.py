"""Where an encoder's time goes: each stage by itself, then all of them at once."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfvlad.batches import ImageBatch
from tfvlad.encoder import Encoder
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images import Source


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage, run by itself.

    Attributes:
      name: ``decoding`` (with reading and resizing), ``network``, ``VLAD`` or ``whitening``; on a GPU the last three
        are one, ``graph``.
      seconds: wall time of all images.
      cpu_seconds: processor time of all images, over all threads.
    """

    name: str
    seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Throughput:
    """How fast an encoder is on some images.

    Attributes:
      images: how many could be encoded.
      failed: those that could not.
      stages: each by itself.
      seconds: wall time of all stages at once, as `Encoder.encode_stream` runs them.
      cpu_seconds: processor time of the same.
      cores: that the process may use.
    """

    images: int
    failed: list[ImageError]
    stages: list[Stage]
    seconds: float
    cpu_seconds: float
    cores: int

    @property
    def efficiency(self) -> float:
        """The time that the stages' processor time would take on all cores, none ever idle, over the time it took."""
        return sum(stage.cpu_seconds for stage in self.stages) / self.cores / self.seconds


def measure(encoder: Encoder, sources: Sequence[Source]) -> Throughput:
    """Encodes images stage by stage, then as usual.

    The first images are encoded once before anything counts, so that compiling is not measured. Memory is bounded by
    a few batches.

    Args:
      encoder: any.
      sources: images, see `Encoder.encode`.

    Raises:
      ConfigError: none of the images can be encoded.
    """
    window = 2 * encoder.extractor.batch
    _drain(encoder.encode_stream(sources[:window]))
    clocks = {name: _Clock() for name in ("decoding", *encoder.engine.stages)}
    failed: dict[int, ImageError] = {}
    for start in range(0, len(sources), window):
        decoding = encoder.extractor.batches(sources[start : start + window])
        decoded = clocks["decoding"].run(lambda windows=decoding: [item for window in windows for item in window])
        values = [item.images for item in decoded if isinstance(item, ImageBatch)]
        failed.update((start + item[0], item[1]) for item in decoded if not isinstance(item, ImageBatch))
        for name, stage in encoder.engine.stages.items():
            values = clocks[name].run(lambda stage=stage, values=values: [stage(value) for value in values])
    good = [source for position, source in enumerate(sources) if position not in failed]
    if not good:
        raise ConfigError(
            f"none of the {len(sources)} images can be encoded; the first is {next(iter(failed.values()))}"
        )
    whole = _Clock()
    whole.run(lambda: _drain(encoder.encode_stream(good)))
    stages = [Stage(name, clock.seconds, clock.cpu_seconds) for name, clock in clocks.items()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Throughput(len(good), list(failed.values()), stages, whole.seconds, whole.cpu_seconds, cores)


class _Clock:
    """Sums up what several runs take."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def run(self, work: Callable[[], Any]) -> Any:
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        result = work()
        self.seconds += time.perf_counter() - seconds
        self.cpu_seconds += time.process_time() - cpu_seconds
        return result


def _drain(rows: Iterator[Any]) -> None:
    for _ in rows:
        pass
