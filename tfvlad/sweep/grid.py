"""What a sweep is to try: the grid that was asked for, and the settings it comes to. No computation, no I/O."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple, get_args

from tfvlad.errors import ConfigError
from tfvlad.sweep.results import Encoding, Setting

POOLINGS: tuple[Encoding, ...] = ("mean", "max", "gem")


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every combination of these is tried, as far as it has a meaning.

    Attributes:
      layers: names of layers, the paper's names for them, patterns of both with ``*``, ``?`` and ``[]``, or ``all``.
      image_sizes: pixels.
      clusters: K of the VLADs.
      dims: dimensions to leave by PCA-whitening; 0 is the whole, unwhitened descriptor.
      encodings: see `tfvlad.sweep.results.Encoding`.
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
        """Whether layers are to be looked at, and not only the fully connected features."""
        return self.encodings != ("fc",)


class Stream(NamedTuple):
    """Descriptors of one kind, of which every `Setting.dim` is made.

    Attributes:
      layer: as in `Setting`.
      encoding: likewise.
      clusters: likewise.
    """

    layer: str
    encoding: Encoding
    clusters: int

    def setting(self, image_size: int, dim: int) -> Setting:
        """The point of the study that these descriptors are, at that size and with that many dimensions."""
        return Setting(image_size, self.layer, self.encoding, self.clusters, dim)


def streams(grid: Grid, layers: Sequence[str], has_fc: bool) -> list[Stream]:
    """The descriptors to take of one pass at one image size.

    Args:
      grid: what was asked for.
      layers: names of layers, in the order of the network.
      has_fc: whether the network has fully connected features at this size.
    """
    found = []
    for layer, encoding in itertools.product(layers, grid.encodings):
        if encoding == "vlad":
            found += [Stream(layer, encoding, clusters) for clusters in grid.clusters]
        elif encoding in POOLINGS:
            found.append(Stream(layer, encoding, 0))
    if has_fc and "fc" in grid.encodings:
        found.append(Stream("", "fc", 0))
    return found
