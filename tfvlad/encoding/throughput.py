"""Measures where an encoder's time goes: each stage by itself, and all of them at once."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfvlad.encoding.encoder import Encoder
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.images.batching import ImageBatch
from tfvlad.images.sources import Source


@dataclasses.dataclass(frozen=True)
class Stage:
    """The time of one stage, run by itself.

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
      images: how many images could be encoded.
      failed: the images that could not, and why.
      stages: the time of each stage by itself.
      seconds: wall time of all stages at once, as `Encoder.encode_stream` runs them, including the failed images.
      cpu_seconds: processor time of the same.
      cores: how many cores the process may use.
    """

    images: int
    failed: list[Failure]
    stages: list[Stage]
    seconds: float
    cpu_seconds: float
    cores: int

    @property
    def efficiency(self) -> float:
        """How well the cores are used, from 0 to 1: the shortest possible time over the time that it took.

        The shortest possible time is the stages' processor time, spread over all cores with none ever idle.
        """
        return sum(stage.cpu_seconds for stage in self.stages) / self.cores / self.seconds


def measure(encoder: Encoder, sources: Sequence[Source]) -> Throughput:
    """Encodes images as usual, then stage by stage.

    The first images are encoded once before the clock starts, so that compiling is not measured. Memory is bounded by a
    few batches.

    Args:
      encoder: the encoder to measure.
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
    """Adds up the wall time and the processor time of several runs."""

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
    """Runs through descriptors without keeping them, and returns the failures by the images' positions."""
    return {position: Failure.of(row) for position, row in enumerate(rows) if isinstance(row, ImageError)}


def processor() -> str:
    """Names what this process may compute with: the processor, its cores, GPUs. Example: ``AMD EPYC 7B13, 2 cores``."""
    cores = usable_cores()
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as file:
        name = next(line for line in file if line.startswith("model name")).partition(":")[2].strip()
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    return ", ".join([f"{name}, {cores} core{'s' if cores > 1 else ''}", *gpus])


def computes_bfloat16() -> bool:
    """Whether this processor, or a GPU, has instructions for bfloat16, so that `precision="bfloat16"` is faster.

    Of processors other than those that Linux describes nothing is known; they count as if they had none.
    """
    if any(
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= (8, 0)
        for gpu in tf.config.get_visible_devices("GPU")
    ):
        return True
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(file.read().split()))
    return False


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
