"""What an encoder and an index are: frozen settings, checked when they are made. No I/O."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Literal, get_args

from tfvlad.errors import ConfigError
from tfvlad.named_networks import IMAGE_SIZE, NAMED_NETWORKS, Preprocessing

Resize = Literal["stretch", "fit"]
Precision = Literal["float32", "bfloat16", "float16"]
Encoding = Literal["vlad", "mean", "max", "gem", "fc"]
VerifierName = Literal["cells", "sift"]

ENCODING_NAMES: Mapping[Encoding, str] = {
    "vlad": "VLAD",
    "mean": "mean pooling",
    "max": "max pooling",
    "gem": "GeM pooling",
    "fc": "fully connected features",
}

MAX_PIXELS = 100_000_000
LARGEST_DIM = 2**24  # of a descriptor that somebody else says there is; memory is allocated by it

# How an index finds and verifies where nobody says otherwise.
LOCAL_FEATURES = 512  # cells that are kept of an image, at most
LOCAL_DIMENSIONS = 64  # bytes of each
QUERY_CELLS = 600  # cells of a query's view that are matched, at most
QUERY_VIEWS = "rotations:8,scales:3"
QUERY_SCALE = 1.25  # size of a query of several views, in parts of the encoder's `image_size`
VERIFIED = 50  # images of the shortlist


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """How an image becomes a descriptor (Ng, Yang and Davis 2015, sections 3 and 4).

    The defaults are what found most photographs of covers, books and places among others; the paper's own settings are
    ``image_size=224, resize="stretch", power=1, dim=128, shrinkage=0``.

    Attributes:
      backbone: the name of a network (see `tfvlad.named_networks`), such as ``vgg16``, ``inceptionv3`` or
        ``googlenet``, or the path of a ``.keras`` file with an image input.
      weights: ``imagenet``, which stands for what the network was published with; ``random:SEED``; or the path of a
        weights file, or for DINOv2 of a folder with a preset. Ignored for a ``.keras`` backbone, which brings its own.
      layer: name of the layer whose activations are the local features; None is the named backbone's default.
      preprocessing: how pixels are scaled, ``caffe``, ``tf``, ``torch`` or ``none``; None is the named backbone's
        own. Needed for a ``.keras`` backbone.
      precision: what the network computes in; weights, VLAD and whitening stay in float32. ``bfloat16`` and
        ``float16`` pay on processors that have them in hardware (AVX512-BF16, AMX, GPUs) only.
      image_size: pixels; the side of the square input (`resize="stretch"`) or its longest side (`resize="fit"`). None
        becomes the named backbone's own, 256 for most of them and for a ``.keras`` backbone.
      resize: ``stretch`` squashes to a square, as the paper does; ``fit`` keeps the aspect ratio.
      clusters: K, the number of centroids in the codebook of a VLAD (the paper: 100). Like the next two settings and
        `codebook_samples`, it means nothing where `encoding` is not ``vlad``.
      intra_norm: L2-normalise each cluster's residual before the global normalisation.
      power: exponent of the signed power applied before the L2 norm (the paper: 1, which leaves the values alone).
      dim: dimensions left by PCA-whitening (the paper: 128); None keeps the whole vector, such as the K*C numbers of a
        VLAD, unwhitened.
      shrinkage: by how much of the mean variance of those dimensions each one's is raised before it is divided by its
        square root; 0 is plain whitening, as in the paper. It matters where there are few images to fit on.
      codebook_samples: local features that the codebook is fitted on, at most.
      whitening_samples: VLADs that the whitening is fitted on, at most.
      max_pixels: an image file whose header announces more pixels is refused before it is decoded. It does not change
        any descriptor.
      encoding: how the layer's activations become one vector: ``vlad``; their ``mean``, ``max`` or ``gem`` (generalised
        mean of power 3) over all cells; or ``fc``, the network's last features before its classifier (`layer` is then
        left out).
    """

    backbone: str = "vgg16"
    weights: str = "imagenet"
    layer: str | None = None
    preprocessing: Preprocessing | None = None
    precision: Precision = "float32"
    image_size: int = None  # type: ignore[assignment]  # it is a number once the settings are made
    resize: Resize = "fit"
    clusters: int = 100
    intra_norm: bool = True
    power: float = 0.5
    dim: int | None = 256
    codebook_samples: int = 200_000
    whitening_samples: int = 4096
    max_pixels: int = MAX_PIXELS
    encoding: Encoding = "vlad"
    shrinkage: float = 0.3

    def __post_init__(self) -> None:
        check_backbone(self.backbone)
        named = NAMED_NETWORKS.get(self.backbone)
        _set_if_none(self, "image_size", named.image_size if named else IMAGE_SIZE)
        for name in ("image_size", "clusters", "codebook_samples", "whitening_samples", "max_pixels"):
            _require(_is_int(getattr(self, name)) and getattr(self, name) >= 1, name, "a positive integer", self)
        _require(self.dim is None or (_is_int(self.dim) and self.dim >= 1), "dim", "a positive integer or None", self)
        _require(0 < self.power <= 1, "power", "above 0 and at most 1", self)
        _require(0 <= self.shrinkage < math.inf, "shrinkage", "0 or more", self)
        _require(self.resize in get_args(Resize), "resize", " or ".join(get_args(Resize)), self)
        _require(self.precision in get_args(Precision), "precision", "one of " + ", ".join(get_args(Precision)), self)
        _require(self.encoding in get_args(Encoding), "encoding", "one of " + ", ".join(get_args(Encoding)), self)
        modes = get_args(Preprocessing)
        _require(self.preprocessing in (None, *modes), "preprocessing", "one of " + ", ".join(modes), self)
        if self.codebook_samples < self.clusters:
            raise ConfigError(
                f"codebook_samples must be at least clusters ({self.clusters}), got {self.codebook_samples}"
            )


@dataclasses.dataclass(frozen=True)
class IndexConfig:
    """How the graph is built and searched (Malkov and Yashunin 2018).

    Attributes:
      m: links per node and layer (``M`` of the paper).
      ef_construction: candidates kept while a node is linked.
      ef_search: candidates kept while searching; raised to k where k is larger. `tfvlad.Index.verify` can choose it
        anew for an index.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 100

    def __post_init__(self) -> None:
        for name in ("m", "ef_construction", "ef_search"):
            _require(_is_int(getattr(self, name)) and getattr(self, name) >= 2, name, "an integer of 2 or more", self)


def check_backbone(backbone: object) -> None:
    """Makes sure that a network has a name that is known, or may be a file.

    Raises:
      ConfigError: neither is so.
    """
    if isinstance(backbone, str) and (backbone in NAMED_NETWORKS or backbone.endswith(".keras")):
        return
    close = difflib.get_close_matches(str(backbone).lower(), NAMED_NETWORKS, n=1)
    raise ConfigError(
        f"backbone must be a network that `tfvlad layers` lists or the path of a .keras file, got {backbone!r}"
        + (f"; did you mean {close[0]}?" if close else "")
    )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _set_if_none(config: object, name: str, value: object) -> None:
    if getattr(config, name) is None:
        object.__setattr__(config, name, value)


def _require(holds: bool, name: str, requirement: str, config: object) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {requirement}, got {getattr(config, name)!r}")
