"""A sweep at one image size: codebooks, descriptors, cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import Query
from tfvlad.images.loading import image_loader
from tfvlad.networks.machine import processor
from tfvlad.sweep.cells import digest
from tfvlad.sweep.codebooks import Codebooks
from tfvlad.sweep.costs import milliseconds
from tfvlad.sweep.extraction import LayerBatch, LayerExtractor, batch_shape
from tfvlad.sweep.forecast import Forecast
from tfvlad.sweep.judging import Judged, judge_dims
from tfvlad.sweep.meter import Meter
from tfvlad.sweep.passes import run_pass
from tfvlad.sweep.plan import Stream
from tfvlad.sweep.results import Cell
from tfvlad.sweep.roles import Roles
from tfvlad.sweep.scratch import Mapped, Progress, Scratch, scratch_folder
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]
Failures = dict[Query, str]  # image, or part of one -> what is wrong with it


class SizeSweep:
    """Does the work at one image size."""

    def __init__(self, forecast: Forecast, meter: Meter) -> None:
        """Takes what is to be done, with how long each part takes, and who is told of what is done."""
        self._work = workload = forecast.workload
        self._task = workload.task
        self._meter = meter
        self._forecast = forecast
        config, network = self._task.config, workload.limits.network
        self._loader = image_loader(workload.limits.image_size, config.resize, network.preprocessing, config.max_pixels)
        self._failures_key = f"failed-{workload.keys.size}"

    def run(self) -> tuple[list[Cell], Failures]:
        """Every cell, computed where it is not there yet, and the images that could not be used.

        Raises:
          ConfigError: no image can be used.
        """
        if self._work.missing:
            self._compute()
        return list(self._work.cells()), self._failures()

    def _compute(self) -> None:
        work, task = self._work, self._task
        images, _ = task.described()  # depends on the grid, which the cells' names do not
        key = digest([work.keys.size, images])
        scratch = Scratch(scratch_folder(task.folder), key, list(work.missing), work.limits.streams)
        books = Codebooks(scratch, task)
        not_fitted = self._fit(scratch, books)
        self._note({task.fit_on[position]: reason for position, reason in books.failures().items()})
        for stream, why in not_fitted.items():
            for dim in work.missing.get(stream, []):
                work.put(stream, dim, work.impossible(stream, dim, why))
        if fitted := [stream for stream in scratch.streams if stream not in not_fitted]:
            self._describe_and_judge(scratch, books.failures(), fitted)
        scratch.delete()

    def _failures(self) -> Failures:
        failed = self._work.cache.get_json(self._failures_key) or []
        return {Query(path, box and tuple(box)): why for path, box, why in failed}

    def _note(self, failed: Failures) -> None:
        """Keeps word of images that cannot be used, for a sweep that does not come to them as its cells are there."""
        known = self._failures() | failed
        self._work.cache.put_json(self._failures_key, [[*image, reason] for image, reason in known.items()])

    def _fit(self, scratch: Scratch, books: Codebooks) -> dict[Stream, str]:
        vlads = [stream for stream in scratch.streams if stream.encoding == "vlad"]
        if not vlads:
            return {}
        layers = dict.fromkeys(stream.layer for stream in vlads)
        self._at("codebooks")
        self._meter.skip("images", books.progress.done * self._forecast.sampling)
        for stream in filter(books.is_fitted, vlads):
            self._meter.skip("codebooks", self._forecast.codebook(stream))

        def image_done(images: int) -> None:
            self._meter.advance("images", images * self._forecast.sampling)

        def codebook_done(stream: Stream) -> None:
            self._meter.advance("codebooks", self._forecast.codebook(stream))

        shapes = [self._work.limits.samples(layer) for layer in layers]
        return books.fit(lambda: self._extractor(vlads), shapes, image_done, codebook_done)

    def _describe_and_judge(self, scratch: Scratch, failed: dict[int, str], fitted: list[Stream]) -> None:
        work = self._work
        codebooks = {stream: np.load(scratch.codebook(stream)) for stream in fitted if stream.encoding == "vlad"}
        images, roles = self._task.described(failed)
        progress = Progress(scratch.path("descriptors.json"))
        shapes = [(len(images), work.limits.length(stream)) for stream in fitted]
        rows = dict(zip(fitted, scratch.arrays("rows", shapes), strict=True))
        self._describe(images, progress, rows, codebooks)
        self._note({images[row]: reason for row, reason in progress.failures.items()})
        roles = roles.without(progress.failures)
        if not ((roles.queries >= 0).any() and (roles.database >= 0).any()):
            first = min(progress.failures)
            raise ConfigError(
                f"no query or no database image can be used; the first is {images[first].path}: "
                f"{progress.failures[first]}"
            )
        some_image = next(image for row, image in enumerate(images) if not image.box and row not in progress.failures)
        wanted = [stream for stream in fitted if stream in work.missing]
        costs = self._time(wanted, codebooks, some_image)
        for stream in wanted:
            self._judge(stream, rows[stream], roles, scratch, *costs[stream])

    def _describe(
        self, images: list[Query], progress: Progress, rows: dict[Stream, Mapped], codebooks: dict[Stream, Floats]
    ) -> None:
        """Fills the rows, one for each image."""
        config = self._task.config

        def store(positions: list[int], batch: LayerBatch) -> None:
            for stream, held in rows.items():
                if stream in codebooks:
                    features = batch.features[stream.layer]
                    held[positions] = encode_vlad(features, codebooks[stream], config.intra_norm, config.power)
                else:
                    held[positions] = batch.pooled[stream.layer, stream.encoding]

        def image_done(number: int) -> None:
            self._meter.advance("images", number * self._forecast.describing)

        self._at("descriptors")
        self._meter.skip("images", progress.done * self._forecast.describing)
        held = next(iter(rows.values()))
        run_pass(self._extractor(list(rows)), images, progress, held, store, config.max_pixels, image_done)

    def _extractor(self, wanted: list[Stream]) -> LayerExtractor:
        return LayerExtractor(self._work.limits.network, self._loader, self._work.limits.image_size, wanted)

    def _time(
        self, wanted: list[Stream], codebooks: dict[Stream, Floats], image: Query
    ) -> dict[Stream, tuple[float, float]]:
        """Milliseconds per image of the network and of the encoding, on copies of an image."""
        shapes = {stream.layer: self._work.limits.shapes[stream.layer] for stream in wanted}
        number, _ = batch_shape(shapes.values(), self._work.limits.image_size)
        batch = tf.repeat(self._loader.load(image.path)[tf.newaxis], number, axis=0)
        costs: dict[Stream, tuple[float, float]] = {}
        for layer in dict.fromkeys(stream.layer for stream in wanted):
            self._at(f"time of {layer or 'the whole network'}")
            of_layer = [stream for stream in wanted if stream.layer == layer]
            costs |= milliseconds(self._work.limits.network, of_layer, batch, codebooks, self._task.config)
            self._meter.advance("timings", self._forecast.timing(layer))
        return costs

    def _judge(
        self, stream: Stream, rows: Floats, roles: Roles, scratch: Scratch, network_ms: float, encoding_ms: float
    ) -> None:
        self._at(f"rankings of {stream.layer or 'the whole network'}")
        work, task = self._work, self._task
        dims = work.missing[stream]
        for dim, judged in judge_dims(rows, roles, task.dataset, dims, task.seed, scratch.temporary):
            if isinstance(judged, Judged):
                setting, length = stream.setting(work.limits.image_size, dim), dim or work.limits.length(stream)
                ms = encoding_ms + judged.whitening_ms
                size = work.limits.encoder_bytes(stream, dim)
                cell = Cell(setting, judged.qualities, length, size, network_ms, ms, judged.top, processor=processor())
            else:
                cell = work.impossible(stream, dim, judged)
            work.put(stream, dim, cell)
        self._meter.advance("rankings", self._forecast.ranking(stream))

    def _at(self, step: str) -> None:
        self._meter.at(f"{self._work.limits.image_size} px, {step}")
