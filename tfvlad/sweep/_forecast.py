"""What the work at one image size takes: time, disk and memory, before any of it is done."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tfvlad.encoding.whitening import fits_exactly
from tfvlad.sweep import estimates
from tfvlad.sweep.extraction import batch_shape
from tfvlad.sweep.meter import Kind
from tfvlad.sweep.plan import Stream
from tfvlad.sweep.workload import Workload

_LIBRARIES = 500_000_000  # bytes of TensorFlow and of the kernels
_WEIGHTS = 3  # copies of the network's, while they are loaded and named
_BATCHES = 4  # layers' outputs that are held at once: at work, made unit length, and on the way to be stored
_EARLY = 1024  # features of a cluster that k-means begins with, a copy; see `tfvlad.encoding.codebook`
_RANKED = 1 << 30  # bytes of the largest block of rankings, and of what sorts it; see `tfvlad.sweep.judging`


class Forecast:
    """Of a workload.

    Attributes:
      workload: what is to be done.
      sampling: seconds that an image takes in the pass for the codebooks.
      describing: seconds that it takes in the pass for the descriptors.
    """

    def __init__(self, workload: Workload) -> None:
        """Takes what is to be done."""
        self.workload = workload
        self._limits = workload.limits
        self._vlads = [stream for stream in workload.missing if stream.encoding == "vlad"]
        self._images, self._roles = workload.task.described()
        self.sampling = self._network(self._vlads)
        self.describing = self._network(list(workload.missing)) + sum(map(self._vlad, self._vlads))

    def seconds(self) -> dict[Kind, float]:
        """All of it, by kind of work, as `tfvlad.sweep.estimates` has it."""
        needed = list(self.workload.missing)
        sampled = len(self.workload.task.sampled)
        return {
            "images": sampled * self.sampling + len(self._images) * self.describing,
            "codebooks": sum(map(self.codebook, self._vlads)),
            "timings": sum(map(self.timing, {stream.layer for stream in needed})),
            "rankings": sum(map(self.ranking, needed)),
        }

    def codebook(self, stream: Stream) -> float:
        """Seconds of a codebook."""
        images, each, depth = self._limits.samples(stream.layer)
        return estimates.codebook_seconds(images * each, depth, stream.clusters)

    def timing(self, layer: str) -> float:
        """Seconds of measuring what a layer costs."""
        side = self._limits.image_size
        batch, _ = batch_shape([self._limits.shapes[layer]], side)
        return estimates.timing_seconds(batch * estimates.network_seconds(self._limits.network, [layer], side))

    def ranking(self, stream: Stream) -> float:
        """Seconds of whitening and judging."""
        roles = self._roles
        return estimates.ranking_seconds(
            len(self._images),
            len(roles.fit),
            len(roles.queries),
            len(roles.database),
            self._limits.length(stream),
            self.workload.missing[stream],
        )

    def disk(self) -> int:
        """Bytes in the scratch folder, at most: first samples, then descriptors; the codebooks throughout."""
        samples = sum(math.prod(self._limits.samples(layer)) for layer in {stream.layer for stream in self._vlads})
        rows = len(self._images) * sum(map(self._limits.length, self.workload.missing))
        projected = len(self._images) * self._largest_dim()
        codebooks = sum(map(self._limits.length, self._vlads))
        return 4 * (codebooks + max(samples, rows + projected))

    def memory(self) -> int:
        """Bytes of memory beside what is mapped from disk, at most, roughly."""
        shapes = [self._limits.shapes[layer] for layer in {stream.layer for stream in self.workload.missing}]
        _, outputs = batch_shape(shapes, self._limits.image_size)
        codebooks = (self._codebook_memory(stream) for stream in self._vlads)
        whitenings = (self._whitening_memory(stream) for stream in self.workload.missing)
        compared = 64 * len(self._roles.queries) * len(self._roles.database)
        weights = 4 * int(self._limits.network.model.count_params())
        return (
            _LIBRARIES
            + _WEIGHTS * weights
            + _BATCHES * outputs
            + max(0, min(compared, _RANKED), *codebooks, *whitenings)
        )

    def _network(self, wanted: list[Stream]) -> float:
        layers = list(dict.fromkeys(stream.layer for stream in wanted))
        limits = self._limits
        return estimates.network_seconds(limits.network, layers, limits.image_size) if layers else 0.0

    def _vlad(self, stream: Stream) -> float:
        height, width, depth = self._limits.shapes[stream.layer]
        return estimates.vlad_seconds(height * width, depth, stream.clusters)

    def _largest_dim(self) -> int:
        return max((dim for dims in self.workload.missing.values() for dim in dims), default=0)

    def _codebook_memory(self, stream: Stream) -> int:
        images, each, depth = self._limits.samples(stream.layer)
        return 4 * depth * (images * each + min(images * each, _EARLY * stream.clusters))

    def _whitening_memory(self, stream: Stream) -> int:
        fitted, length = len(self._roles.fit), self._limits.length(stream)
        if fits_exactly((fitted, length), self._largest_dim()):
            return 32 * min(fitted, length) ** 2 + (1 << 27)
        return 4 * 10 * (self._largest_dim() + 10) * length


def total(forecasts: Iterable[Forecast]) -> dict[Kind, float]:
    """Seconds of all of them, by kind of work."""
    seconds: dict[Kind, float] = {"images": 0, "codebooks": 0, "timings": 0, "rankings": 0}
    for forecast in forecasts:
        for kind, of_kind in forecast.seconds().items():
            seconds[kind] += of_kind
    return seconds
