"""The settings that a sweep tries. No computation and no TensorFlow here: the command line takes its defaults from it.

To vary something else, add it to `Grid`, which says what is tried, and to `Setting`, which names one combination. What
shapes a descriptor before the whitening belongs into `DescriptorKind` as well: one pass over the images computes all
kinds at once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple, get_args

from tfvlad.config import Encoding
from tfvlad.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Grid:
    """The values to try; a sweep tries every combination of them that has a meaning.

    Attributes:
      layers: names of layers, the paper's names for them, patterns of both with ``*``, ``?`` and ``[]``, or ``all``.
      image_sizes: pixels.
      clusters: numbers of centroids (K) of the VLADs.
      dims: numbers of dimensions to leave by PCA-whitening; 0 is the full, unwhitened descriptor.
      encodings: ways to make one vector of activations; see `tfvlad.EncoderConfig`.

    Example:
      >>> Grid(layers=("conv4_*",), image_sizes=(448,), dims=(128, 0))  # doctest: +SKIP
    """

    layers: tuple[str, ...] = ("all",)
    image_sizes: tuple[int, ...] = (224, 448)
    clusters: tuple[int, ...] = (100,)
    dims: tuple[int, ...] = (128,)
    encodings: tuple[Encoding, ...] = ("vlad",)

    def __post_init__(self) -> None:
        for name, least in (("layers", ""), ("image_sizes", 1), ("clusters", 1), ("dims", 0), ("encodings", "")):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"{name} must name one at least")
            if isinstance(least, int) and (wrong := [value for value in values if value < least]):
                raise ConfigError(f"{name} must be {least} or more, got {wrong[0]}")
            if repeated := [value for number, value in enumerate(values) if value in values[:number]]:
                raise ConfigError(f"{name} must name each once, got {repeated[0]} again")
        if unknown := [name for name in self.encodings if name not in get_args(Encoding)]:
            raise ConfigError(f"encodings must be of {', '.join(get_args(Encoding))}, got {unknown[0]!r}")

    @property
    def needs_maps(self) -> bool:
        """Whether any encoding reads the activation maps of layers; the fully connected features do not."""
        return self.encodings != ("fc",)


@dataclasses.dataclass(frozen=True, order=True)
class Setting:
    """One combination of the values of a grid.

    Attributes:
      image_size: pixels, as in `EncoderConfig`.
      layer: its name in the network; empty for ``fc``.
      encoding: as in `EncoderConfig`.
      clusters: K of the VLAD; 0 for the other encodings.
      dim: number of dimensions left by PCA-whitening; 0 for the full, unwhitened descriptor.
    """

    image_size: int
    layer: str
    encoding: Encoding
    clusters: int
    dim: int


class DescriptorKind(NamedTuple):
    """A kind of full descriptor, before any whitening: the settings of one image size that differ in `dim` alone.

    Attributes:
      layer: as in `Setting`.
      encoding: as in `Setting`.
      clusters: as in `Setting`.
    """

    layer: str
    encoding: Encoding
    clusters: int

    def setting(self, image_size: int, dim: int) -> Setting:
        """The setting of this kind with that image size and that many dimensions."""
        return Setting(image_size, self.layer, self.encoding, self.clusters, dim)


def descriptor_kinds(grid: Grid, layers: Sequence[str], has_fc: bool) -> list[DescriptorKind]:
    """Lists the kinds of descriptors that a grid asks for at one image size.

    Args:
      grid: what is tried.
      layers: names of the layers to study, in the order of the network.
      has_fc: whether the network has fully connected features at this size.
    """
    kinds = []
    for layer, encoding in itertools.product(layers, grid.encodings):
        if encoding == "vlad":
            kinds += [DescriptorKind(layer, encoding, clusters) for clusters in grid.clusters]
        elif encoding != "fc":
            kinds.append(DescriptorKind(layer, encoding, 0))
    if has_fc and "fc" in grid.encodings:
        kinds.append(DescriptorKind("", "fc", 0))
    return kinds
