"""What a sweep will take: time, disk space and memory, told before the first image; and the time that is left.

Times are counts of multiply-adds divided by speeds that were measured on two cores. They need to be right in proportion
only: `ProgressBar` finds out how fast each stage of the work is on this machine.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple

import keras

from tfvlad.encoding.features import batch_shape
from tfvlad.encoding.whitening import fits_exactly
from tfvlad.errors import ConfigError
from tfvlad.progress import Progress
from tfvlad.sweep._multi_layer_network import WholeNetwork
from tfvlad.sweep._plan import SizePlan, SweepTask
from tfvlad.sweep.grid import DescriptorKind
from tfvlad.sweep.output_folder import SCRATCH

Stage = Literal["images", "codebooks", "timings", "rankings"]  # kinds of work, each with a speed of its own
Seconds = Mapping[Stage, float]

_PER_SECOND = 2.5e10  # multiply-adds of networks, VLADs and k-means
_PER_SECOND_IN_DOUBLE = 1e10  # multiply-adds in float64, of whitenings and comparisons
_KMEANS_ITERATIONS = 16  # over all features; the real ones are more and begin with fewer features
_TRACING = 1.0  # seconds until a part of a network has run for the first time
_PER_CELL = 0.2  # seconds that a cell takes beside its arithmetic
_TIMED_RUNS, _TIMED_SECONDS = 6, 1.0  # of a timed stage; see `tfvlad.sweep._one_size`

_LIBRARIES = 500_000_000  # bytes of TensorFlow and of the kernels
_WEIGHT_COPIES = 3  # of the network, while it is loaded and its digest is computed
_BATCHES = 4  # outputs of all layers that are held at once: computed, brought to unit length, and waiting to be stored
_EARLY_SAMPLES = 1024  # features per cluster that k-means begins with, a copy; see `tfvlad.encoding.codebook`
_RANKING_BYTES = 1 << 30  # of the largest block of rankings, and of what sorts it; see `tfvlad.sweep._judging`

_TRUST = 10.0  # expected seconds of work after which measured and expected speed weigh the same
_BAR = "{percentage:3.0f}%|{bar:24}| {elapsed} gone, {remaining} left: {desc}"


class Forecast:
    """The expected time, disk space and memory of a sweep at one image size.

    Attributes:
      sampling: seconds for an image in the pass over the images for the codebooks.
      encoding: seconds for an image in the pass for the descriptors.
      timings: layer -> seconds to measure the milliseconds per image.
      rankings: kind -> seconds to whiten and to rank.
      seconds: stage -> seconds of all its work.
      disk: bytes in the scratch folder, at most.
      memory: bytes of memory, without what is mapped from disk: roughly, and at most.
    """

    def __init__(self, task: SweepTask, plan: SizePlan, missing: Mapping[DescriptorKind, Sequence[int]]) -> None:
        """Forecasts the work.

        Args:
          task: what the sweep is given.
          plan: the settings at this image size.
          missing: kind of descriptor -> numbers of dimensions whose cells are to be computed.
        """
        images, roles = task.images_and_roles()
        vlads = [kind for kind in missing if kind.encoding == "vlad"]
        layers = list(dict.fromkeys(kind.layer for kind in missing))
        count, fitted = len(images), len(roles.fit)
        compared = len(roles.queries) * len(roles.database)

        self.sampling = network_seconds(plan, list(dict.fromkeys(kind.layer for kind in vlads)))
        self.encoding = network_seconds(plan, layers) + sum(vlad_seconds(plan, kind) for kind in vlads)
        self.timings = {layer: timing_seconds(plan, layer) for layer in layers}
        self.rankings = {
            kind: ranking_seconds(plan.length(kind), dims, count, fitted, compared) for kind, dims in missing.items()
        }
        self.seconds: Seconds = {
            "images": len(task.sampled) * self.sampling + count * self.encoding,
            "codebooks": sum(codebook_seconds(plan, kind) for kind in vlads),
            "timings": sum(self.timings.values()),
            "rankings": sum(self.rankings.values()),
        }

        largest_dim = max((dim for dims in missing.values() for dim in dims), default=0)
        # The codebooks lie on disk all the time, the samples only before the descriptors.
        samples = sum(math.prod(plan.sample_shape(layer)) for layer in {kind.layer for kind in vlads})
        descriptors = count * (sum(map(plan.length, missing)) + largest_dim)
        self.disk = 4 * (sum(map(plan.length, vlads)) + max(samples, descriptors))

        _, outputs = batch_shape([plan.shapes[layer] for layer in layers], plan.image_size)
        self.memory = (
            _LIBRARIES
            + _WEIGHT_COPIES * 4 * int(plan.network.model.count_params())
            + _BATCHES * outputs
            + max(
                min(64 * compared, _RANKING_BYTES),
                *(codebook_memory(plan, kind) for kind in vlads),
                *(whitening_memory(fitted, plan.length(kind), largest_dim) for kind in missing),
                0,
            )
        )


def network_seconds(plan: SizePlan, layers: list[str]) -> float:
    """Seconds to run one image through the network up to the last of these layers."""
    return _multiply_adds(plan.network, layers, plan.image_size) / _PER_SECOND if layers else 0.0


def vlad_seconds(plan: SizePlan, kind: DescriptorKind) -> float:
    """Seconds to encode one image as a VLAD."""
    return math.prod(plan.shapes[kind.layer]) * kind.clusters / _PER_SECOND


def codebook_seconds(plan: SizePlan, kind: DescriptorKind) -> float:
    """Seconds of k-means."""
    return _KMEANS_ITERATIONS * math.prod(plan.sample_shape(kind.layer)) * kind.clusters / _PER_SECOND


def timing_seconds(plan: SizePlan, layer: str) -> float:
    """Seconds to measure how long a batch takes: some runs, and no more once they have taken a while."""
    batch, _ = batch_shape([plan.shapes[layer]], plan.image_size)
    seconds = batch * network_seconds(plan, [layer])
    return _TRACING + min(_TIMED_RUNS * seconds, 2 * seconds + _TIMED_SECONDS)


def ranking_seconds(length: int, dims: Sequence[int], images: int, fitted: int, compared: int) -> float:
    """Seconds to whiten and to rank descriptors of one kind.

    Args:
      length: of a full descriptor.
      dims: numbers of dimensions to leave; 0 is the full descriptor.
      images: how many images are encoded.
      fitted: how many of them the whitening is fitted on.
      compared: pairs of a query and a database image.
    """
    exact = {dim: fits_exactly((fitted, length), dim) for dim in dims if dim}
    # Of exact fits, the one with the most dimensions serves all; see `tfvlad.sweep._judging.judge_dims`.
    fits = [dim for dim, is_exact in exact.items() if not is_exact or dim == max(exact)]
    fitting = fitted * length * sum(min(fitted, length, 10 * dim) for dim in fits)
    projecting = images * length * sum(fits)
    comparing = compared * sum(dim or length for dim in dims)
    return (fitting + projecting + comparing) / _PER_SECOND_IN_DOUBLE + _PER_CELL * len(dims)


def codebook_memory(plan: SizePlan, kind: DescriptorKind) -> int:
    """Bytes that k-means takes."""
    images, each, depth = plan.sample_shape(kind.layer)
    return 4 * depth * (images * each + min(images * each, _EARLY_SAMPLES * kind.clusters))


def whitening_memory(fitted: int, length: int, dim: int) -> int:
    """Bytes that fitting a whitening takes on so many descriptors of this length."""
    if fits_exactly((fitted, length), dim):
        return 32 * min(fitted, length) ** 2 + (1 << 27)
    return 4 * 10 * (dim + 10) * length


def _multiply_adds(network: WholeNetwork, layers: list[str], side: int) -> float:
    """The work of one image of `side` pixels: of each layer on the way, its weights at each place of its map."""
    on_the_way = network.cut(layers).layers
    weighed = [layer for layer in on_the_way if layer.count_params() and len(layer.output.shape) == 4]
    maps = keras.Model(network.model.inputs[0], [layer.output for layer in weighed])
    shapes = maps.compute_output_shape((1, side, side, 3)) if weighed else []
    adds = sum(layer.count_params() * shape[1] * shape[2] for layer, shape in zip(weighed, shapes, strict=True))
    return float(adds + sum(layer.count_params() for layer in on_the_way if layer not in weighed))


class Needs(NamedTuple):
    """What a sweep takes while it is at work.

    Attributes:
      disk: bytes in the output folder, at most.
      free: bytes that are free for it, those included that an earlier, stopped sweep has left there.
      memory: bytes of memory, without what is mapped from disk: roughly, and at most.
    """

    disk: int
    free: int
    memory: int

    def in_words(self, folder: str) -> str:
        """A sentence about what the sweep takes, with the output folder's name."""
        return (
            f"While it is at work, the sweep keeps up to {_in_words(self.disk)} in {folder}, where "
            f"{_in_words(self.free)} are free, and takes about {_in_words(self.memory)} of memory"
        )


def check_space(folder: str, forecasts: Sequence[Forecast]) -> Needs:
    """Compares the disk space that the sweep needs with what is free.

    The image size that needs most decides, as the files of each are deleted before the next.

    Raises:
      ConfigError: the disk is too small.
    """
    disk = max(forecast.disk for forecast in forecasts)
    place = os.path.abspath(folder)
    while not os.path.isdir(place):  # the output folder is made only when there is work for it
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free + _left_over(folder)
    needs = Needs(disk, free, max(forecast.memory for forecast in forecasts))
    if needs.disk > needs.free:
        raise ConfigError(
            f"{folder} has {_in_words(needs.free)} free, and the sweep keeps up to {_in_words(needs.disk)} there "
            "while it is at work; give an output folder on a larger disk, or fewer layers, clusters or images"
        )
    return needs


def _left_over(folder: str) -> int:
    """Bytes that a stopped sweep has left, which are used again or deleted."""
    scratch = os.path.join(folder, SCRATCH)
    if not os.path.isdir(scratch):
        return 0
    return sum(entry.stat().st_blocks * 512 for entry in os.scandir(scratch))


def _in_words(size: int) -> str:
    """Bytes in GB, or in MB where they are few."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def total_seconds(forecasts: Iterable[Forecast]) -> Seconds:
    """The expected seconds of several image sizes together, for each stage."""
    seconds: dict[Stage, float] = {"images": 0, "codebooks": 0, "timings": 0, "rankings": 0}
    for forecast in forecasts:
        for stage, expected in forecast.seconds.items():
            seconds[stage] += expected
    return seconds


class _Clock(Progress):
    """A bar whose pieces are seconds, which go by between two calls of `update` as well."""

    @property
    def format_dict(self) -> Any:
        """What tqdm shows, as of now."""
        told: dict[str, Any] = dict(super().format_dict)
        gone = told["elapsed"]
        return told | {"n": gone, "total": max(told["total"], gone), "rate": 1.0}


class ProgressBar:
    """One bar for the whole sweep, in time; shown where standard error is a terminal.

    It learns how fast each stage goes on this machine. Work that an earlier, stopped sweep has done counts as not to be
    done, and says nothing about speed.
    """

    def __init__(self, expected: Seconds) -> None:
        """Starts the clock.

        Args:
          expected: stage -> seconds of all work of the sweep, as `Forecast` has them.
        """
        self._left = dict(expected)
        self._done: dict[Stage, float] = dict.fromkeys(expected, 0.0)
        self._spent: dict[Stage, float] = dict.fromkeys(expected, 0.0)
        self._start = self._last = time.monotonic()
        self._bar = _Clock(None, None, 1.0, bar_format=_BAR, leave=False)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def describe(self, step: str) -> None:
        """Shows what is being done."""
        self._bar.set_description_str(step, refresh=False)
        self._show()

    def skip(self, stage: Stage, expected: float) -> None:
        """Removes work that need not be done from what is left, in expected seconds."""
        self._left[stage] = max(0.0, self._left[stage] - expected)

    def advance(self, stage: Stage, expected: float) -> None:
        """Notes that work of so many expected seconds was done in the time since the last call."""
        now = time.monotonic()
        self._done[stage] += expected
        self._spent[stage] += now - self._last
        self._last = now
        self.skip(stage, expected)
        self._show()

    def seconds_left(self) -> float:
        """Seconds that the rest will take: each stage at its own speed so far, or at that of all stages while little
        of it is done."""
        overall = _slowness(sum(self._spent.values()), sum(self._done.values()), 1.0)
        return sum(
            left * _slowness(self._spent[stage], self._done[stage], overall) for stage, left in self._left.items()
        )

    def _show(self) -> None:
        gone = time.monotonic() - self._start
        self._bar.total = gone + self.seconds_left()
        self._bar.update(gone - self._bar.n)


def _slowness(spent: float, done: float, assumed: float) -> float:
    """Real seconds for an expected second: as assumed at first, and more and more as measured the more is done."""
    return (spent + _TRUST * assumed) / (done + _TRUST)
