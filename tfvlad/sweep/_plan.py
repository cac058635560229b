"""What a sweep has to do: the images with the purpose of each, and the settings that are possible at one image size."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig
from tfvlad.encoding.codebook import images_to_sample, share
from tfvlad.encoding.features import output_shapes
from tfvlad.evaluation.datasets import Box, Dataset, Query
from tfvlad.sweep._multi_layer_network import FC, WholeNetwork, aggregation_for
from tfvlad.sweep.grid import DescriptorKind, Grid, descriptor_kinds

Rows = npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Roles:
    """What each row of a descriptor array is for; -1 stands for an image that cannot be used.

    Attributes:
      fit: rows to fit the whitening on.
      database: (N,) row of each database image.
      queries: (Q,) row of each query.
    """

    fit: Rows
    database: Rows
    queries: Rows

    def without(self, failed: Collection[int]) -> Roles:
        """The same roles where the rows `failed` hold no descriptor."""
        rows = np.array(sorted(failed), np.intp)
        database, queries = (np.where(np.isin(part, rows), -1, part) for part in (self.database, self.queries))
        return Roles(self.fit[~np.isin(self.fit, rows)], database, queries)


@dataclasses.dataclass(frozen=True)
class SweepTask:
    """What a sweep is given; the same for all image sizes.

    Attributes:
      dataset: queries, database and right answers.
      fit_on: the images to fit codebooks and whitening on.
      config: the settings that all cells share; see `tfvlad.sweep.study.Study`.
      grid: what is tried.
      seed: of codebooks and whitening.
      folder: the output folder.
    """

    dataset: Dataset
    fit_on: list[Query]
    config: EncoderConfig
    grid: Grid
    seed: int
    folder: str

    @functools.cached_property
    def sampled(self) -> Rows:
        """(M,) sorted positions in `fit_on` of the images whose local features the codebooks are fitted on."""
        return images_to_sample(len(self.fit_on), self.config.codebook_samples, self.seed)

    def images_and_roles(self, failed: Collection[int] = ()) -> tuple[list[Query], Roles]:
        """Lists the images to encode, a row of descriptors for each, and what the rows are for.

        Args:
          failed: positions in `fit_on` of images that are known to be of no use.
        """
        database = [Query(image.path) for image in self.dataset.database]
        return assign_roles(self._whitening_sample(failed), database, self.dataset.queries)

    def _whitening_sample(self, failed: Collection[int]) -> list[Query]:
        """The images that `tfvlad.Encoder.fit` would fit a whitening on."""
        if not any(self.grid.dims):
            return []
        usable = np.array([number for number in range(len(self.fit_on)) if number not in failed], np.intp)
        order = np.random.default_rng(self.seed).permutation(usable)
        return [self.fit_on[number] for number in np.sort(order[: self.config.whitening_samples])]


def assign_roles(
    fit: Iterable[Query], database: Iterable[Query], queries: Iterable[Query]
) -> tuple[list[Query], Roles]:
    """Lists each image, or part of one, once, even if it has several roles or several links lead to it.

    Returns:
      The images to encode, a row for each, and what the rows are for.
    """
    images: list[Query] = []
    places: dict[tuple[str, Box | None], int] = {}

    def row(image: Query) -> int:
        key = (os.path.realpath(image.path), image.box)
        if key not in places:
            places[key] = len(images)
            images.append(image)
        return places[key]

    rows = [np.array([row(image) for image in part], np.intp) for part in (fit, database, queries)]
    return images, Roles(*rows)


class SizePlan:
    """The settings at one image size, and which of them are possible as far as numbers tell.

    Whether a setting is possible depends on the cells of a layer's map, its channels, and the images to fit on.

    Attributes:
      network: the network at this size.
      image_size: pixels.
      grid: what is tried.
      kinds: the kinds of descriptors of all settings.
      shapes: layer -> (h, w, C), the largest map that an image gives. Layers for which an image has too few pixels
        are left out.
    """

    def __init__(
        self, network: WholeNetwork, image_size: int, layers: list[str], grid: Grid, config: EncoderConfig, fit_on: int
    ) -> None:
        """Finds out the shapes of the layers' outputs.

        Args:
          network: see the attribute.
          image_size: see the attribute.
          layers: the layers to study, in the order of the network.
          grid: see the attribute.
          config: the settings that all cells share.
          fit_on: how many images there are to fit on.
        """
        self.network = network
        self.image_size = image_size
        self.grid = grid
        self.kinds = descriptor_kinds(grid, layers, has_fc=FC in network.outputs)
        self.shapes = {
            layer: shapes[0]
            for layer in dict.fromkeys(kind.layer for kind in self.kinds)
            if (shapes := output_shapes(network.cut([layer]), image_size, image_size))
        }
        self._config = config
        self._sampled = len(images_to_sample(fit_on, config.codebook_samples, seed=0))
        self._whitened = min(fit_on, config.whitening_samples)

    def why_not(self, kind: DescriptorKind, dim: int) -> str:
        """Says why a setting is not possible; empty where it is."""
        if kind.layer not in self.shapes:
            return f"{self.image_size}x{self.image_size} pixels are too few for this layer"
        features = math.prod(self.sample_shape(kind.layer)[:2]) if kind.encoding == "vlad" else 0
        if kind.clusters > features:
            return f"{features} local features of the images to fit on do not make {kind.clusters} clusters"
        if dim > self.length(kind):
            return f"the whole descriptor has only {self.length(kind)} dimensions"
        if dim and dim >= self._whitened:
            return f"PCA of {self._whitened} images gives {self._whitened - 1} dimensions at most"
        return ""

    def why_none(self) -> str:
        """Says why the first setting is not possible if no setting is; empty if one is possible."""
        reasons = [self.why_not(kind, dim) for kind in self.kinds for dim in self.grid.dims]
        return reasons[0] if reasons and all(reasons) else ""

    def length(self, kind: DescriptorKind) -> int:
        """The length of a full descriptor."""
        return aggregation_for(kind, self._config).length(self._depth(kind.layer))

    def encoder_bytes(self, kind: DescriptorKind, dim: int) -> int:
        """The bytes that an encoder holds beside its network: the codebook, and a projection with its offset."""
        codebook = kind.clusters * self._depth(kind.layer)
        return 4 * (codebook + (self.length(kind) + 1) * dim)

    def sample_shape(self, layer: str) -> tuple[int, int, int]:
        """The shape of a layer's sample for the codebooks: images, features of each at most, channels."""
        height, width, depth = self.shapes[layer]
        return self._sampled, min(share(self._sampled, self._config.codebook_samples), height * width), depth

    def _depth(self, layer: str) -> int:
        """Channels of a layer; the fully connected features count as channels of a map with one cell."""
        return int(self.shapes[layer][-1])
