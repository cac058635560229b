"""A sweep at one image size: codebooks, descriptors, cells."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from tfvlad.config import EncoderConfig
from tfvlad.datasets import Dataset, Query
from tfvlad.errors import ConfigError
from tfvlad.images import image_loader
from tfvlad.sweep.cells import CellCache
from tfvlad.sweep.codebooks import Codebooks
from tfvlad.sweep.costs import encoding_ms, network_ms
from tfvlad.sweep.extraction import LayerBatch, LayerExtractor
from tfvlad.sweep.judging import SHOWN, judge_dims
from tfvlad.sweep.keys import Keys
from tfvlad.sweep.networks import FC, Network, output_shapes
from tfvlad.sweep.passes import run_pass
from tfvlad.sweep.plan import Grid, Stream, streams
from tfvlad.sweep.results import Cell
from tfvlad.sweep.roles import Roles, assign
from tfvlad.sweep.scratch import Progress, Scratch
from tfvlad_kernels import encode_vlad

CELLS = "cells"  # the folder of finished cells, which an output folder has from the first

Floats = npt.NDArray[np.float32]
Failures = dict[Query, str]  # image, or part of one -> what is wrong with it


@dataclasses.dataclass(frozen=True)
class Work:
    """What all image sizes share.

    Attributes:
      dataset: queries, database and right answers.
      fit_on: the images to fit on.
      config: settings; see `tfvlad.sweep.results.Study.config`.
      grid: what is to be tried.
      seed: of codebooks and whitening.
      folder: where cells and scratch files go.
    """

    dataset: Dataset
    fit_on: list[Query]
    config: EncoderConfig
    grid: Grid
    seed: int
    folder: str


class SizeSweep:
    """The settings of one image size.

    Attributes:
      failures: after `cells`, the images that could not be used.
    """

    def __init__(self, work: Work, network: Network, image_size: int, layers: list[str]) -> None:
        """Takes what to do, the network at this size, and the layers that have maps."""
        self._work = work
        self._network = network
        self._size = image_size
        self._title = f"{image_size} px"
        self._streams = streams(work.grid, layers, has_fc=FC in network.outputs)
        self._shapes = {
            stream.layer: shapes[0]
            for stream in self._streams
            if (shapes := output_shapes(network.cut([stream.layer]), image_size, image_size))
        }
        self._keys = Keys(work.dataset, work.fit_on, work.config, network, image_size, work.seed)
        self._failures_key = f"failed-{self._keys.size}"
        self._cache = CellCache(os.path.join(work.folder, CELLS))
        config = work.config
        self._loader = image_loader(image_size, config.resize, network.preprocessing, config.max_pixels)
        self.failures: Failures = {}

    def cells(self) -> list[Cell]:
        """Every cell, computed where it is not there yet.

        Raises:
          ConfigError: no image can be used.
        """
        needed = [stream for stream in self._streams if stream.layer in self._shapes and self._missing(stream)]
        if needed:
            self._compute(needed)
        failed = self._cache.get_json(self._failures_key) or []
        self.failures = {Query(path, box and tuple(box)): why for path, box, why in failed}
        too_few = f"{self._size}x{self._size} pixels are too few for this layer"
        return [
            self._cache.get(self._keys.cell(stream, dim)) or self._impossible(stream, dim, too_few)
            for stream in self._streams
            for dim in self._work.grid.dims
        ]

    def _missing(self, stream: Stream) -> list[int]:
        """The numbers of dimensions whose cells are not there yet."""
        return [dim for dim in self._work.grid.dims if self._cache.get(self._keys.cell(stream, dim)) is None]

    def _compute(self, needed: list[Stream]) -> None:
        work, scratch = self._work, Scratch(os.path.join(self._work.folder, "scratch"), self._keys.size, needed)
        vlads = [stream for stream in scratch.streams if stream.encoding == "vlad"]
        books = Codebooks(scratch, work.fit_on, work.config, work.seed)
        not_fitted = books.fit(self._extractor(vlads), self._shapes, self._title) if vlads else {}
        fitted = [stream for stream in scratch.streams if stream not in not_fitted]
        codebooks = {stream: np.load(scratch.codebook(stream)) for stream in vlads if stream in fitted}
        images, roles = assign(self._whitening_sample(books.failures()), self._database(), work.dataset.queries)
        progress = Progress(scratch.path("descriptors.json"))
        rows = {stream: scratch.rows(stream, len(images), self._length(stream)) for stream in fitted}
        self._describe(images, progress, rows, codebooks)
        failed = {work.fit_on[position]: reason for position, reason in books.failures().items()}
        failed |= {images[row]: reason for row, reason in progress.failures.items()}
        self._cache.put_json(self._failures_key, [[*image, reason] for image, reason in failed.items()])
        roles = roles.without(progress.failures)
        if not ((roles.queries >= 0).any() and (roles.database >= 0).any()):
            image = images[min(progress.failures)]
            raise ConfigError(f"no query or no database image can be used; the first is {image.path}: {failed[image]}")
        for stream, why in not_fitted.items():
            for dim in self._missing(stream):
                self._cache.put(self._keys.cell(stream, dim), self._impossible(stream, dim, why))
        costs = self._costs(fitted, codebooks, images, progress)
        for stream in tqdm(fitted, f"{self._title}: rankings", disable=None, delay=2):
            self._judge(stream, rows[stream], roles, *costs[stream])
        scratch.delete()

    def _extractor(self, wanted: list[Stream]) -> LayerExtractor:
        return LayerExtractor(self._network, self._loader, self._size, wanted)

    def _length(self, stream: Stream) -> int:
        return self._shapes[stream.layer][-1] * max(1, stream.clusters)

    def _database(self) -> list[Query]:
        return [Query(image.path) for image in self._work.dataset.database]

    def _whitening_sample(self, failed: dict[int, str]) -> list[Query]:
        """The images that `tfvlad.Encoder.fit` would choose."""
        if not any(self._work.grid.dims):
            return []
        usable = np.array([number for number in range(len(self._work.fit_on)) if number not in failed], np.intp)
        order = np.random.default_rng(self._work.seed).permutation(usable)
        return [self._work.fit_on[number] for number in np.sort(order[: self._work.config.whitening_samples])]

    def _describe(
        self, images: list[Query], progress: Progress, rows: dict[Stream, Floats], codebooks: dict[Stream, Floats]
    ) -> None:
        """Fills the rows, one for each image."""
        config = self._work.config

        def store(positions: list[int], batch: LayerBatch) -> None:
            for stream, held in rows.items():
                if stream in codebooks:
                    features = batch.features[stream.layer]
                    held[positions] = encode_vlad(features, codebooks[stream], config.intra_norm, config.power)
                else:
                    held[positions] = batch.pooled[stream.layer, stream.encoding]

        run_pass(
            self._extractor(list(rows)),
            images,
            progress,
            list(rows.values()),
            store,
            config.max_pixels,
            f"{self._title}: descriptors",
        )

    def _costs(
        self, wanted: list[Stream], codebooks: dict[Stream, Floats], images: list[Query], progress: Progress
    ) -> dict[Stream, tuple[float, float]]:
        """Milliseconds per image of the network and of the encoding, on copies of the first image that can be used."""
        image = next(image for row, image in enumerate(images) if image.box is None and row not in progress.failures)
        batch = tf.repeat(self._loader.load(image.path)[tf.newaxis], self._extractor(wanted).batch, axis=0)
        network = network_ms(self._network, list(dict.fromkeys(stream.layer for stream in wanted)), batch)
        encoding = encoding_ms(self._network, wanted, batch, codebooks, self._work.config)
        return {stream: (network[stream.layer], encoding[stream]) for stream in wanted}

    def _judge(self, stream: Stream, rows: Floats, roles: Roles, network_ms: float, encoding_ms: float) -> None:
        dims = self._missing(stream)
        for dim, judged in judge_dims(rows, roles, self._work.dataset, dims, self._work.seed).items():
            cell = (
                self._impossible(stream, dim, judged)
                if isinstance(judged, str)
                else Cell(
                    stream.setting(self._size, dim),
                    judged.qualities,
                    dim or rows.shape[1],
                    network_ms,
                    encoding_ms + judged.whitening_ms,
                    judged.top,
                )
            )
            self._cache.put(self._keys.cell(stream, dim), cell)

    def _impossible(self, stream: Stream, dim: int, why: str) -> Cell:
        nothing = np.full((len(self._work.dataset.queries), SHOWN), -1, np.int64)
        return Cell(stream.setting(self._size, dim), {}, 0, 0.0, 0.0, nothing, why)
