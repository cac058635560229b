"""The encoder: network, aggregation and whitening tied together; fit, encode, save, load."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import EncoderConfig, Precision
from tfvlad.encoding._engines import AGGREGATED, Engine, GraphEngine, KernelEngine
from tfvlad.encoding._fitting import FEWEST_DIMENSIONS, Fitting, OnError
from tfvlad.encoding._view_engine import ViewEngine
from tfvlad.encoding.aggregation import Aggregation, aggregation_of
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor, Head
from tfvlad.encoding.files import StoredEncoder, read_encoder, read_whole, write_encoder
from tfvlad.encoding.keras_layers import LocalFeatures
from tfvlad.encoding.keras_layers import Whitening as WhiteningLayer
from tfvlad.encoding.views import Description, ViewsDescription
from tfvlad.encoding.whitening import Whitening, check_dim
from tfvlad.errors import ConfigError, ImageError, MismatchError
from tfvlad.images import loading as images
from tfvlad.images.crops import upright_size
from tfvlad.images.files import content_key
from tfvlad.images.listing import image_paths
from tfvlad.images.loading import image_loader
from tfvlad.images.sources import ImageLike, Source, as_sources
from tfvlad.images.views import View
from tfvlad.networks.backbones import Backbone, load_backbone, load_cut_backbone
from tfvlad.networks.requirements import comes_by_name
from tfvlad.progress import FASTER, Progress

Floats = npt.NDArray[np.float32]


class Encoder:
    """Turns images into descriptors: local features, VLAD, PCA-whitening (Ng, Yang and Davis 2015).

    Instead of VLAD, `EncoderConfig.encoding` can choose another aggregation of the layer's activations.

    Example:
      >>> encoder = tfvlad.Encoder.fit("photographs", tfvlad.EncoderConfig(dim=64))
      >>> encoder.save("photographs.encoder")
      >>> encoder.encode("query.jpg").shape
      (1, 64)

    Attributes:
      config: the settings, with the layer and the preprocessing that were found for them.
      backbone: the network up to the layer.
      aggregation: makes one vector per image of the layer's activations; of a VLAD it holds the codebook.
      whitening: fitted PCA-whitening, or None where `config.dim` is None.
      dim: length of a descriptor.
      fingerprint: hex digest of everything that shapes a descriptor.
      image_size: `config.image_size`.
      max_pixels: `config.max_pixels`.
      extractor: runs the network over images, up to what the aggregation goes on with.
      engine: runs the whole encoder: on a GPU as one graph, else through the kernels.
    """

    def __init__(
        self,
        config: EncoderConfig,
        backbone: Backbone,
        aggregation: Aggregation,
        whitening: Whitening | None,
        extractor: FeatureExtractor[str] | None = None,
    ) -> None:
        """Ties fitted parts together; `fit` and `load` are the usual ways to get an encoder."""
        self.config = dataclasses.replace(config, layer=backbone.layer, preprocessing=backbone.preprocessing)
        self.backbone = backbone
        self.aggregation = aggregation
        self.whitening = whitening
        self.dim = whitening.dim if whitening else aggregation.length(backbone.channels)
        self.image_size = config.image_size
        self.max_pixels = config.max_pixels
        self.fingerprint = _fingerprint(self.config, backbone, aggregation.codebook, whitening)
        self.extractor = extractor or _extractor(config, backbone, Head(0, aggregation.head()))
        self.engine: Engine = (
            GraphEngine(self.extractor, self.model_with_activations())
            if tf.config.list_logical_devices("GPU")
            else KernelEngine(self.extractor, aggregation, whitening)
        )

    @property
    def codebook(self) -> Floats | None:
        """(K, C) float32 centroids of a VLAD; None of any other aggregation."""
        return self.aggregation.codebook

    @classmethod
    def fit(
        cls,
        photographs: str | os.PathLike[str] | Iterable[Source],
        config: EncoderConfig | None = None,
        seed: int = 0,
        on_error: OnError | None = None,
        fewer_dims: bool = False,
    ) -> Encoder:
        """Fits the codebook, where the encoding is VLAD, and the whitening, where `config.dim` is not None.

        Both are fitted on bounded, seeded samples, so time and memory stop growing with the number of images. The
        samples are drawn by the images' content: neither their names nor their order change what is fitted.

        Args:
          photographs: a folder, or several images (see `encode`).
          config: settings; the default is VGG16's `block4_conv2` at 256 pixels.
          seed: makes the result reproducible.
          on_error: called for each image that cannot be used, which is then left out; None raises instead.
          fewer_dims: where there are too few images for `config.dim`, leave as many dimensions as they allow instead of
            refusing them; the whole vector, unwhitened, where that would be fewer than five.

        Raises:
          ConfigError: a setting does not fit, or there are too few images for `config.dim`.
          WeightsError: the network's weights cannot be had.
          ImageError: an image cannot be used, and there is no `on_error`.
        """
        config = config or EncoderConfig()
        sources = _list_sources(photographs)
        backbone = load_backbone(config)
        aggregation = aggregation_of(config)
        size = aggregation.length(backbone.channels)
        dim = config.dim
        if dim is not None and fewer_dims:
            dim = min(dim, len(sources) - 1, size)
            dim = dim if dim >= FEWEST_DIMENSIONS else None
        if dim is not None:
            check_dim(dim, len(sources), size)
        extractor = _extractor(config, backbone, Head(0, aggregation.head()))
        fitting = Fitting(sources, extractor, config, seed, on_error)
        if aggregation.needs_codebook:
            aggregation = aggregation_of(config, fitting.codebook())
        whitening = None if dim is None else fitting.whitening(aggregation, size, dim, fewer_dims)
        config = dataclasses.replace(config, dim=None if whitening is None else whitening.dim)
        return cls(config, backbone, aggregation, whitening, extractor)

    def __repr__(self) -> str:
        """The encoder in one line."""
        config = self.config
        layer = f"{config.backbone} {config.layer}"
        made = f"{self.aggregation.name} of {layer}, {config.image_size} px, {self.dim} dimensions"
        return f"<Encoder {self.fingerprint[:12]}: {made}>"

    def _repr_html_(self) -> str:
        """What the encoder is, for a notebook."""
        from tfvlad.images.notebooks import facts

        config = self.config
        told = {
            "network": config.backbone,
            "layer": config.layer,
            "image size": f"{config.image_size} pixels",
            "aggregation": self.aggregation.name,
            "dimensions": self.dim,
            "precision": config.precision,
            "fingerprint": self.fingerprint[:12],
        }
        return facts("tfvlad.Encoder", told)

    def encode(self, sources: ImageLike | Iterable[ImageLike]) -> Floats:
        """Encodes images; a progress bar shows where it takes long and standard error is a terminal.

        Args:
          sources: one image or several, also a generator: paths, image files' bytes, pixels as (H, W, 3) uint8 RGB,
            or PIL images.

        Returns:
          (n, dim) float32, unit length, in the order of the input.

        Raises:
          ImageError: the first image that cannot be encoded.
        """
        sources = as_sources(sources)
        total = len(sources) if isinstance(sources, Sized) else None
        rows = []
        for row in Progress(self.encode_stream(sources), "Encoding", total, if_long=FASTER):
            if isinstance(row, ImageError):
                raise row
            rows.append(row)
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def encode_stream(self, sources: Iterable[Source]) -> Generator[Floats | ImageError]:
        """Encodes images as they come, reading only a little ahead; a bad image does not stop the rest.

        Args:
          sources: see `encode`.

        Yields:
          For each image, in order, its (dim,) float32 descriptor or what is wrong with it.
        """
        for rows in self.engine.stream(sources):
            for position in sorted(rows):
                yield rows[position]

    def describe_stream(self, sources: Iterable[Source]) -> Generator[Description | ImageError]:
        """Like `encode_stream`, with the local features, which come out of the same forward pass.

        Example:
          >>> (description,) = encoder.describe_stream(["query.jpg"])
          >>> description.descriptor.shape, description.features.shape, description.size
          ((64,), (28, 28, 512), (1024, 768))

        Args:
          sources: see `encode`.

        Yields:
          For each image, in order, its description or what is wrong with it.
        """
        sizes: collections.deque[tuple[int, int]] = collections.deque()
        for rows in self.engine.describe(_measured(sources, sizes)):
            for position in sorted(rows):
                row, size = rows[position], sizes.popleft()
                if isinstance(row, ImageError):
                    yield row
                else:
                    height, width = row[1].shape[:2]
                    yield Description(*row, size if all(size) else (width, height))

    def describe_views(
        self, sources: Iterable[Source], views: Sequence[View], scale: float = 1.0
    ) -> Generator[ViewsDescription | ImageError]:
        """Encodes views of images as they come: one forward pass for each turn that they have.

        A view that is a part of the picture is the part's cells in the map of the whole picture, so that parts cost no
        forward pass. Fully connected features have no such map: each view is rendered.

        Example:
          >>> views = parse_views("rotations:8,scales:3")
          >>> (description,) = encoder.describe_views(["query.jpg"], views, scale=1.25)
          >>> description.descriptors.shape, len(description.passes)
          ((24, 64), 8)

        Args:
          sources: see `encode`.
          views: the views; see `tfvlad.images.views.parse_views`.
          scale: the size of the picture that is encoded, in parts of `image_size`; ignored where the network takes
            images of one size only. At 1, the whole picture gets the descriptor that `encode` gives it.

        Yields:
          For each image, in order, what was found of it or what is wrong with it.

        Raises:
          ConfigError: there are no views, or the scale is not a positive number.
        """
        if not views or not 0 < scale < math.inf:
            raise ConfigError(f"views must be at least one and scale above 0, got {len(views)} and {scale}")
        return self._view_engine.stream(sources, views, scale)

    @functools.cached_property
    def _view_engine(self) -> ViewEngine:
        extractor = self.extractor
        if not isinstance(extractor.heads[AGGREGATED].layer, LocalFeatures):
            extractor = _extractor(self.config, self.backbone, Head(0, self.aggregation.cell_head()))
        by_parts = self.config.encoding != "fc"
        return ViewEngine(extractor, self.aggregation, self.whitening, self.max_pixels, by_parts)

    def local_features(self, source: Source) -> Floats:
        """The map of one image: (h, w, C) float32, unit length per cell.

        Raises:
          ImageError: the image cannot be used.
        """
        (window,) = self._local_extractor.stream([source])
        batch = window[0]
        if not isinstance(batch, FeatureBatch):
            raise batch[1]
        features: Floats = batch.values[AGGREGATED][0].reshape(*batch.grids[AGGREGATED], -1)
        return features

    @functools.cached_property
    def _local_extractor(self) -> FeatureExtractor[str]:
        """Gives local features: the encoder's own extractor, unless its aggregation takes something else."""
        if isinstance(self.extractor.heads[AGGREGATED].layer, LocalFeatures):
            return self.extractor
        return _extractor(self.config, self.backbone, Head(0, LocalFeatures()))

    def model_with_activations(self) -> keras.Model:
        """`model` with a second output: the layer's activations, (B, h, w, C)."""
        inputs = keras.Input((None, None, 3), name="images")
        activations = self.backbone.model(inputs)
        return keras.Model(inputs, [self._described(activations), activations], name="encoder_with_activations")

    def model(self) -> keras.Model:
        """The same encoder as one Keras model: (B, H, W, 3) float32, preprocessed -> (B, dim) float32."""
        inputs = keras.Input((None, None, 3), name="images")
        return keras.Model(inputs, self._described(self.backbone.model(inputs)), name="encoder")

    def _described(self, activations: Any) -> Any:
        """From symbolic activations to symbolic descriptors."""
        x = self.aggregation.head()(activations)
        if tail := self.aggregation.tail():
            x = tail(x)
        if self.whitening:
            x = WhiteningLayer(self.dim, *self.whitening.folded(), name="whitening")(x)
        return x

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the encoder's folder, whole or not at all; an encoder that is already there is replaced.

        Raises:
          ArtifactError: something else is there.
        """
        network = None if comes_by_name(self.config) else self.backbone.model
        write_encoder(path, self.config, self.codebook, self.whitening, network, self.fingerprint)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], max_pixels: int | None = None, precision: Precision | None = None
    ) -> Encoder:
        """Loads an encoder's folder, checking everything in it first.

        Args:
          path: the folder.
          max_pixels: replaces the stored setting, see `EncoderConfig`; None keeps it.
          precision: likewise. Another one gives other descriptors: the fingerprint is then not the stored one.

        Raises:
          ConfigError: `max_pixels` is not a positive integer, or `precision` is not one of those there are.
          ArtifactError: the folder is missing, damaged, or of a newer format.
          WeightsError: the named network's ImageNet weights cannot be had.
          MismatchError: those weights are not the ones that the encoder was fitted with.
        """
        return read_whole(path, lambda: cls._load(path, max_pixels, precision))

    @classmethod
    def _load(cls, path: str | os.PathLike[str], max_pixels: int | None, precision: Precision | None) -> Encoder:
        stored = read_encoder(path)
        replaced: dict[str, Any] = {"max_pixels": max_pixels, "precision": precision}
        config = dataclasses.replace(
            stored.config, **{name: value for name, value in replaced.items() if value is not None}
        )
        backbone = load_backbone(config) if stored.backbone is None else load_cut_backbone(stored.backbone, config)
        _check_channels(os.fsdecode(path), stored, backbone)
        if _fingerprint(stored.config, backbone, stored.codebook, stored.whitening) != stored.fingerprint:
            raise MismatchError(
                f"{os.fsdecode(path)}: this tfvlad, or the weights of {stored.config.backbone} found here, would give "
                "other descriptors than the encoder was fitted with; fit it anew"
            )
        return cls(config, backbone, aggregation_of(config, stored.codebook), stored.whitening)


def _measured(sources: Iterable[Source], sizes: collections.deque[tuple[int, int]]) -> Iterator[Source]:
    """Passes images on, and notes the size of each; what cannot be measured cannot be decoded, and has size 0 x 0."""
    for source in sources:
        try:
            sizes.append(upright_size(source))
        except ImageError:
            sizes.append((0, 0))
        yield source


def _extractor(config: EncoderConfig, backbone: Backbone, head: Head) -> FeatureExtractor[str]:
    loader = image_loader(config.image_size, config.resize, backbone.preprocessing, config.max_pixels)
    return FeatureExtractor(backbone.model, loader, config.image_size, {AGGREGATED: head})


def _check_channels(path: str, stored: StoredEncoder, backbone: Backbone) -> None:
    """Refuses a network whose features are not of the length that codebook and whitening are made for."""
    channels = backbone.channels
    if stored.codebook is not None and stored.codebook.shape[1] != channels:
        raise MismatchError(
            f"{path}: the network gives features of {channels} channels, the codebook has {stored.codebook.shape[1]}"
        )
    size = aggregation_of(stored.config).length(channels)
    if stored.whitening is not None and len(stored.whitening.mean) != size:
        raise MismatchError(
            f"{path}: the network gives vectors of {size} numbers, the whitening takes {len(stored.whitening.mean)}"
        )


def _list_sources(photographs: str | os.PathLike[str] | Iterable[Source]) -> list[Source]:
    """Lists the images to fit on, sorted by their content."""
    if isinstance(photographs, str | os.PathLike):
        sources: list[Source] = list(image_paths(photographs))
    else:
        sources = list(photographs)
    if not sources:
        raise ConfigError("there are no images to fit on")
    keys = [content_key(source) for source in Progress(sources, "Looking at the images")]
    return [sources[position] for position in sorted(range(len(sources)), key=keys.__getitem__)]


def _fingerprint(
    config: EncoderConfig, backbone: Backbone, codebook: Floats | None, whitening: Whitening | None
) -> str:
    of_encoding = ("intra_norm", "power") if config.encoding == "vlad" else ("encoding",)
    names = ("layer", "preprocessing", "image_size", "resize", *of_encoding)
    shaping: dict[str, Any] = {
        "preprocessing version": images.VERSION,
        "backbone": backbone.digest,
        **{name: getattr(config, name) for name in names},
    }
    if config.precision != "float32":  # cosines to float32 fall to 0.991 (bfloat16) and 0.996 (float16) on photographs
        shaping["precision"] = config.precision
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode())
    for tensor in [*([] if codebook is None else [codebook]), *(dataclasses.astuple(whitening) if whitening else ())]:
        digest.update(f"{tensor.shape} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()
