"""What a sweep has still to do at one image size, and what that takes: known before any of it is done."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np

from tfvlad.codebook import share
from tfvlad.errors import ArtifactError
from tfvlad.sweep.cells import CellCache
from tfvlad.sweep.keys import Keys
from tfvlad.sweep.networks import FC, Network, output_shapes
from tfvlad.sweep.plan import Stream, streams
from tfvlad.sweep.results import SHOWN, Cell
from tfvlad.sweep.task import Task

CELLS = "cells"  # the folder of finished cells, which an output folder has from the first


class Workload:
    """The settings of one image size: which are possible, and which are not there yet.

    Attributes:
      task: what is to be done.
      network: the network at this size.
      image_size: pixels.
      streams: the descriptors of all settings.
      shapes: layer -> (h, w, C), or (D,) of fully connected features: the largest that an image gives. Layers for
        which these are too few pixels are not there.
      cache: finished cells.
      keys: their names.
      missing: descriptors -> numbers of dimensions that are possible and whose cells are not there yet.
    """

    def __init__(self, task: Task, network: Network, image_size: int, layers: list[str]) -> None:
        """Takes what to do, the network at this size, and the layers that have maps."""
        self.task = task
        self.network = network
        self.image_size = image_size
        self.streams = streams(task.grid, layers, has_fc=FC in network.outputs)
        self.shapes = {
            layer: shapes[0]
            for layer in dict.fromkeys(stream.layer for stream in self.streams)
            if (shapes := output_shapes(network.cut([layer]), image_size, image_size))
        }
        self.cache = CellCache(os.path.join(task.folder, CELLS))
        self.keys = Keys(task.dataset, task.fit_on, task.config, network, image_size, task.seed)
        self.missing = {stream: dims for stream in self.streams if (dims := self._missing(stream))}

    def why_not(self, stream: Stream, dim: int) -> str:
        """Why a setting is not possible, as far as numbers tell; empty where it is."""
        if stream.layer not in self.shapes:
            return f"{self.image_size}x{self.image_size} pixels are too few for this layer"
        features = math.prod(self.samples(stream.layer)[:2]) if stream.encoding == "vlad" else 0
        if stream.clusters > features:
            return f"{features} local features of the images to fit on do not make {stream.clusters} clusters"
        fitted, length = min(len(self.task.fit_on), self.task.config.whitening_samples), self.length(stream)
        if dim > length:
            return f"the whole descriptor has only {length} dimensions"
        if dim >= fitted:
            return f"PCA of {fitted} images gives {fitted - 1} dimensions at most"
        return ""

    def nothing_possible(self) -> bool:
        """Whether numbers alone rule every setting out."""
        return all(self.why_not(stream, dim) for stream in self.streams for dim in self.task.grid.dims)

    def cells(self) -> Iterator[Cell]:
        """Every setting's, once all that was missing is put.

        Raises:
          ArtifactError: somebody has taken one away.
        """
        for stream in self.streams:
            for dim in self.task.grid.dims:
                why = self.why_not(stream, dim)
                cell = self.impossible(stream, dim, why) if why else self.cache.get(self.keys.cell(stream, dim))
                if cell is None:
                    raise ArtifactError(self.task.folder, "finished cells have been taken away; start again")
                yield cell

    def put(self, stream: Stream, dim: int, cell: Cell) -> None:
        """Keeps a finished cell."""
        self.cache.put(self.keys.cell(stream, dim), cell)

    def impossible(self, stream: Stream, dim: int, why: str) -> Cell:
        """The cell of a setting that is not possible."""
        nothing = np.full((len(self.task.dataset.queries), SHOWN), -1, np.int64)
        return Cell(stream.setting(self.image_size, dim), {}, 0, 0, 0.0, 0.0, nothing, why)

    def depth(self, layer: str) -> int:
        """Channels of a layer, or dimensions of the fully connected features."""
        return int(self.shapes[layer][-1])

    def length(self, stream: Stream) -> int:
        """Numbers in a whole descriptor."""
        return self.depth(stream.layer) * max(1, stream.clusters)

    def encoder_bytes(self, stream: Stream, dim: int) -> int:
        """What an encoder of a setting holds beside its network: the codebook, and a projection with its offset."""
        codebook = stream.clusters * self.depth(stream.layer)
        return 4 * (codebook + (self.length(stream) + 1) * dim)

    def samples(self, layer: str) -> tuple[int, int, int]:
        """The shape of a layer's sample for the codebooks: images, features of each at most, channels."""
        height, width, depth = self.shapes[layer]
        images = len(self.task.sampled)
        return images, min(share(images, self.task.config.codebook_samples), height * width), depth

    def _missing(self, stream: Stream) -> list[int]:
        dims = [dim for dim in self.task.grid.dims if not self.why_not(stream, dim)]
        return [dim for dim in dims if self.cache.get(self.keys.cell(stream, dim)) is None]
