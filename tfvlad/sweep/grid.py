"""The settings that a sweep tries. No computation and no TensorFlow here: the command line takes its defaults from it.

To vary something else, add it to `Grid`, which says what is tried, and to `Setting`, which names one combination. What
shapes a descriptor before the whitening belongs into `DescriptorKind` as well: one pass over the images computes all
kinds at once. What does not change any descriptor of the whole picture, but how an index is searched, belongs into
`SearchGrid` and `SearchSetting`, which name arguments of `tfvlad.Index`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple, get_args

from tfvlad.config import QUERY_VIEWS, VERIFIED, Encoding, VerifierName
from tfvlad.errors import ConfigError
from tfvlad.images.views import parse_views

WHOLE_PICTURE = "whole"  # the text of the view that every image has


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
            _check_values(name, getattr(self, name), least if isinstance(least, int) else None)
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


@dataclasses.dataclass(frozen=True)
class SearchGrid:
    """The ways to search to try with the best settings of a `Grid`; every combination of them that has a meaning.

    Attributes:
      settings: with how many of the grid's settings an index is made and searched, the best first.
      views: views of each image that an index has; see `tfvlad.images.views.parse_views`.
      query_views: views of each query.
      verify: numbers of images of the shortlist that are verified; 0 leaves the order to the descriptors.
      verifiers: what verifies them, ``cells`` or ``sift``; see `tfvlad.Index.search`.
      expand: numbers of hits that expand a query for a second search; 0 is no second search.

    Example:
      >>> SearchGrid(verify=(0, 50, 100), query_views=("whole", "rotations:8"))  # doctest: +SKIP
    """

    settings: int = 1
    views: tuple[str, ...] = (WHOLE_PICTURE,)
    query_views: tuple[str, ...] = (WHOLE_PICTURE, QUERY_VIEWS)
    verify: tuple[int, ...] = (0, VERIFIED)
    verifiers: tuple[VerifierName, ...] = ("cells",)
    expand: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.settings < 1:
            raise ConfigError(f"search_settings must be 1 or more, got {self.settings}")
        for name in ("views", "query_views"):
            object.__setattr__(self, name, tuple(text or WHOLE_PICTURE for text in getattr(self, name)))
            for text in getattr(self, name):
                parse_views(text)
        for name, least in (("views", None), ("query_views", None), ("verify", 0), ("verifiers", None), ("expand", 0)):
            _check_values(name, getattr(self, name), least)
        if unknown := [name for name in self.verifiers if name not in get_args(VerifierName)]:
            raise ConfigError(f"verifiers must be of {', '.join(get_args(VerifierName))}, got {unknown[0]!r}")


@dataclasses.dataclass(frozen=True, order=True)
class SearchSetting:
    """One way to search.

    Attributes:
      views: of each image of the index; the other attributes are arguments of `tfvlad.Index.search`.
      query_views: of each query.
      verify: images of the shortlist that are verified.
      verifier: ``cells`` or ``sift``; empty where none are verified.
      expand: hits that expand the query.
    """

    views: str
    query_views: str
    verify: int
    verifier: str
    expand: int


def search_settings(grid: SearchGrid) -> list[SearchSetting]:
    """Lists the ways to search that a grid asks for, those of one index next to each other."""
    ways = [
        SearchSetting(views, query_views, verify, verifier if verify else "", expand)
        for views, query_views, verify, verifier, expand in itertools.product(
            grid.views, grid.query_views, grid.verify, grid.verifiers, grid.expand
        )
    ]
    return list(dict.fromkeys(ways))


def _check_values(name: str, values: Sequence[object], least: int | None) -> None:
    """Refuses an empty list, a number below `least`, and a value that comes twice."""
    if not values:
        raise ConfigError(f"{name} must name one at least")
    if least is not None and (wrong := [value for value in values if isinstance(value, int) and value < least]):
        raise ConfigError(f"{name} must be {least} or more, got {wrong[0]}")
    if repeated := [value for number, value in enumerate(values) if value in values[:number]]:
        raise ConfigError(f"{name} must name each once, got {repeated[0]} again")
