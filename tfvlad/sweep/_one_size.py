"""The work of a sweep at one image size: codebooks, then descriptors, then a cell for each setting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.encoding.aggregation import Aggregation
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor, batch_shape, outputs_of
from tfvlad.encoding.throughput import processor
from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import Query
from tfvlad.images.loading import image_loader
from tfvlad.sweep._codebooks import Codebooks
from tfvlad.sweep._finished_cells import Failures, FinishedCells
from tfvlad.sweep._forecast import Forecast, ProgressBar, codebook_seconds
from tfvlad.sweep._judging import Judgement, judge_dims
from tfvlad.sweep._keys import digest
from tfvlad.sweep._multi_layer_network import HeadKey, WholeNetwork, aggregation_for, extractor_for, head_key
from tfvlad.sweep._plan import Roles, SizePlan, SweepTask
from tfvlad.sweep._unfinished_work import Mapped, PassProgress, Scratch, run_pass
from tfvlad.sweep.grid import DescriptorKind, Setting
from tfvlad.sweep.output_folder import SCRATCH
from tfvlad.sweep.study import Cell

Floats = npt.NDArray[np.float32]
Aggregations = Mapping[DescriptorKind, Aggregation]
Tensor = Any

_TIMED_RUNS = 5
_TIMED_SECONDS = 1.0  # after which a stage is not run again, its first run not counted


class SizeSweep:
    """Computes the cells at one image size that are not finished yet.

    Attributes:
      image_size: pixels.
      forecast: what that takes.
    """

    def __init__(self, task: SweepTask, plan: SizePlan) -> None:
        """Looks up which cells are finished and forecasts the rest; no image is read yet."""
        self.image_size = plan.image_size
        self._task = task
        self._plan = plan
        self._cells = FinishedCells(task, plan)
        self.forecast = Forecast(task, plan, self._cells.missing)
        config = task.config
        self._loader = image_loader(plan.image_size, config.resize, plan.network.preprocessing, config.max_pixels)

    def run(self, bar: ProgressBar) -> tuple[list[Cell], Failures]:
        """Computes what is missing.

        Returns:
          All cells of this size, and the images that could not be used.

        Raises:
          ConfigError: no image can be used.
        """
        if self._cells.missing:
            self._compute(bar)
        return list(self._cells.all()), self._cells.failures()

    def key(self, setting: Setting) -> str:
        """The name of a setting's cell, a digest of everything that shapes it."""
        return self._cells.key(setting)

    def _compute(self, bar: ProgressBar) -> None:
        cells, task = self._cells, self._task
        images, _ = task.images_and_roles()  # depends on the grid, which the names of the cells do not
        key = digest([cells.size_key, images])
        scratch = Scratch(os.path.join(task.folder, SCRATCH), key, list(cells.missing), self._plan.kinds)
        codebooks = Codebooks(scratch, task)
        not_fitted = self._fit(scratch, codebooks, bar)
        cells.add_failures({task.fit_on[position]: reason for position, reason in codebooks.failures().items()})
        for kind, why in not_fitted.items():
            for dim in cells.missing.get(kind, []):
                cells.put(kind, dim, cells.impossible(kind, dim, why))
        if fitted := [kind for kind in scratch.kinds if kind not in not_fitted]:
            self._encode_and_judge(scratch, codebooks.failures(), fitted, bar)
        scratch.delete()

    def _fit(self, scratch: Scratch, codebooks: Codebooks, bar: ProgressBar) -> dict[DescriptorKind, str]:
        """Fits the codebooks; returns the VLADs that are not possible and why."""
        vlads = [kind for kind in scratch.kinds if kind.encoding == "vlad"]
        if not vlads:
            return {}
        self._describe(bar, "codebooks")
        bar.skip("images", codebooks.progress.done * self.forecast.sampling)
        for kind in filter(codebooks.is_fitted, vlads):
            bar.skip("codebooks", codebook_seconds(self._plan, kind))

        def image_done(number: int) -> None:
            bar.advance("images", number * self.forecast.sampling)

        def codebook_done(kind: DescriptorKind) -> None:
            bar.advance("codebooks", codebook_seconds(self._plan, kind))

        shapes = [self._plan.sample_shape(layer) for layer in dict.fromkeys(kind.layer for kind in vlads)]
        return codebooks.fit(lambda: self._extractor(vlads), shapes, image_done, codebook_done)

    def _encode_and_judge(
        self, scratch: Scratch, failed: dict[int, str], fitted: list[DescriptorKind], bar: ProgressBar
    ) -> None:
        codebooks = {kind: np.load(scratch.codebook(kind)) for kind in fitted if kind.encoding == "vlad"}
        aggregations = {kind: aggregation_for(kind, self._task.config, codebooks.get(kind)) for kind in fitted}
        images, roles = self._task.images_and_roles(failed)
        progress = PassProgress(scratch.path("descriptors.json"))
        shapes = [(len(images), self._plan.length(kind)) for kind in fitted]
        rows = dict(zip(fitted, scratch.arrays("rows", shapes), strict=True))
        self._encode(images, progress, rows, aggregations, bar)
        self._cells.add_failures({images[row]: reason for row, reason in progress.failures.items()})
        roles = roles.without(progress.failures)
        if not ((roles.queries >= 0).any() and (roles.database >= 0).any()):
            first = min(progress.failures)
            raise ConfigError(
                f"no query or no database image can be used; the first is {images[first].path}: "
                f"{progress.failures[first]}"
            )
        some_image = next(image for row, image in enumerate(images) if not image.box and row not in progress.failures)
        wanted = [kind for kind in fitted if kind in self._cells.missing]
        costs = self._time(wanted, aggregations, some_image, bar)
        for kind in wanted:
            self._describe(bar, f"rankings of {kind.layer or 'the whole network'}")
            self._judge(kind, rows[kind], roles, scratch, *costs[kind])
            bar.advance("rankings", self.forecast.rankings[kind])

    def _encode(
        self,
        images: list[Query],
        progress: PassProgress,
        rows: dict[DescriptorKind, Mapped],
        aggregations: Aggregations,
        bar: ProgressBar,
    ) -> None:
        """Writes the full descriptors of each kind, a row for each image."""

        def store(positions: list[int], batch: FeatureBatch[HeadKey]) -> None:
            for kind, array in rows.items():
                array[positions] = aggregations[kind].vectors(batch.values[head_key(kind)])

        def image_done(number: int) -> None:
            bar.advance("images", number * self.forecast.encoding)

        self._describe(bar, "descriptors")
        bar.skip("images", progress.done * self.forecast.encoding)
        array = next(iter(rows.values()))
        max_pixels = self._task.config.max_pixels
        run_pass(self._extractor(list(rows)), images, progress, array, store, max_pixels, image_done)

    def _extractor(self, kinds: list[DescriptorKind]) -> FeatureExtractor[HeadKey]:
        return extractor_for(self._plan.network, self._loader, self._plan.image_size, kinds, self._task.config)

    def _time(
        self, kinds: list[DescriptorKind], aggregations: Aggregations, image: Query, bar: ProgressBar
    ) -> dict[DescriptorKind, tuple[float, float]]:
        """Measures the milliseconds per image of network and encoding, on copies of one image."""
        shapes = [self._plan.shapes[layer] for layer in dict.fromkeys(kind.layer for kind in kinds)]
        number, _ = batch_shape(shapes, self._plan.image_size)
        batch = tf.repeat(self._loader.load(image.path)[tf.newaxis], number, axis=0)
        costs: dict[DescriptorKind, tuple[float, float]] = {}
        for layer in dict.fromkeys(kind.layer for kind in kinds):
            self._describe(bar, f"time of {layer or 'the whole network'}")
            of_layer = [kind for kind in kinds if kind.layer == layer]
            costs |= milliseconds(self._plan.network, of_layer, batch, aggregations)
            bar.advance("timings", self.forecast.timings[layer])
        return costs

    def _judge(
        self, kind: DescriptorKind, rows: Floats, roles: Roles, scratch: Scratch, network_ms: float, encoding_ms: float
    ) -> None:
        """Stores a cell for each number of dimensions as soon as it is judged."""
        task, plan = self._task, self._plan
        dims = self._cells.missing[kind]
        shrinkage = task.config.shrinkage
        for dim, judged in judge_dims(rows, roles, task.dataset, dims, task.seed, scratch.temporary, shrinkage):
            if isinstance(judged, Judgement):
                cell = Cell(
                    kind.setting(plan.image_size, dim),
                    judged.qualities,
                    dim or plan.length(kind),
                    plan.encoder_bytes(kind, dim),
                    network_ms,
                    encoding_ms + judged.whitening_ms,
                    judged.top,
                    processor=processor(),
                )
            else:
                cell = self._cells.impossible(kind, dim, judged)
            self._cells.put(kind, dim, cell)

    def _describe(self, bar: ProgressBar, step: str) -> None:
        bar.describe(f"{self._plan.image_size} px, {step}")


def milliseconds(
    network: WholeNetwork,
    kinds: Sequence[DescriptorKind],
    images: Tensor,
    aggregations: Aggregations,
) -> dict[DescriptorKind, tuple[float, float]]:
    """Measures what an image takes on a batch in memory: the network up to a layer, and the encoding of its output.

    Args:
      network: the network.
      kinds: descriptors of one layer; their whitening is not measured.
      images: (B, H, W, 3) float32, prepared for the network.
      aggregations: the aggregation of each of them.

    Returns:
      Kind -> milliseconds per image of the network, and of the encoding.
    """
    model = network.cut([kinds[0].layer])
    run = _graph_function(lambda images: outputs_of(model, images)[0], images)
    output = run(images)

    def encode(kind: DescriptorKind) -> Callable[[], Any]:
        aggregation = aggregations[kind]
        head = _graph_function(aggregation.head(), output)
        return lambda: aggregation.vectors(np.asarray(head(output)))

    network_ms = _milliseconds(lambda: np.asarray(run(images)), len(images))
    return {kind: (network_ms, _milliseconds(encode(kind), len(images))) for kind in kinds}


def _graph_function(work: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
    """Traces for one shape; concrete, as TensorFlow warns of many traces that it believes it could reuse."""
    return tf.function(work).get_concrete_function(tf.TensorSpec(example.shape, example.dtype))  # type: ignore[no-any-return]


def _milliseconds(work: Callable[[], Any], images: int) -> float:
    """The median milliseconds per image, after a first run that compiles."""
    work()
    times: list[float] = []
    while len(times) < _TIMED_RUNS and sum(times) < _TIMED_SECONDS:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / images * 1e3
