"""Where an encoder's time goes: each stage by itself, then all of them at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfvlad.encoding.encoder import Encoder
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.images.batching import ImageBatch
from tfvlad.images.loading import Source
from tfvlad.networks.machine import usable_cores


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage, run by itself.

    Attributes:
      name: ``decoding`` (with reading and resizing), ``network``, ``VLAD`` or ``whitening``. An encoder that pools
        has ``network and GeM pooling``, or the like, instead of the two in the middle. On a GPU all but the first are
        one, ``graph``.
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
      seconds: wall time of all stages at once, as `Encoder.encode_stream` runs them; with the failures.
      cpu_seconds: processor time of the same.
      cores: that the process may use.
    """

    images: int
    failed: list[Failure]
    stages: list[Stage]
    seconds: float
    cpu_seconds: float
    cores: int

    @property
    def efficiency(self) -> float:
        """The time that the stages' processor time would take on all cores, none ever idle, over the time it took."""
        return sum(stage.cpu_seconds for stage in self.stages) / self.cores / self.seconds


def measure(encoder: Encoder, sources: Sequence[Source]) -> Throughput:
    """Encodes images as usual, then stage by stage.

    The first images are encoded once before anything counts, so that compiling is not measured. Memory is bounded by
    a few batches.

    Args:
      encoder: any.
      sources: images, see `Encoder.encode`.

    Raises:
      ConfigError: none of the images can be encoded.
    """
    window = 2 * encoder.extractor.batch
    _failures(encoder.encode_stream(sources[:window]))
    whole = _Clock()
    failed = whole.run(_failures, encoder.encode_stream(sources))
    good = [source for position, source in enumerate(sources) if position not in failed]
    if not good:
        first = next(iter(failed.values()))
        raise ConfigError(f"none of the {len(sources)} images can be encoded; the first is {first}")
    clocks = {name: _Clock() for name in ("decoding", *encoder.engine.stages)}
    for start in range(0, len(good), window):
        windows = clocks["decoding"].run(list, encoder.extractor.batches(good[start : start + window]))
        values = [batch.images for batches in windows for batch in batches if isinstance(batch, ImageBatch)]
        for name, stage in encoder.engine.stages.items():
            values = clocks[name].run(_each, stage, values)
    stages = [Stage(name, clock.seconds, clock.cpu_seconds) for name, clock in clocks.items()]
    return Throughput(len(good), list(failed.values()), stages, whole.seconds, whole.cpu_seconds, usable_cores())


class _Clock:
    """Sums up what several runs take."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        result = work(*arguments)
        self.seconds += time.perf_counter() - seconds
        self.cpu_seconds += time.process_time() - cpu_seconds
        return result


def _each(stage: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    return [stage(value) for value in values]


def _failures(rows: Iterable[Any]) -> dict[int, Failure]:
    """Takes descriptors and lets go of them; gives what is not one, by its position."""
    return {position: Failure.of(row) for position, row in enumerate(rows) if isinstance(row, ImageError)}
