"""The encoder: backbone, codebook and whitening tied together; fit, encode, save, load."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Generator, Iterable, Sized
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from tfvlad.config import EncoderConfig, Precision
from tfvlad.encoding.engines import Engine, GraphEngine, KernelEngine
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.encoding.files import read_encoder, write_encoder
from tfvlad.encoding.fitting import Fitting, OnError
from tfvlad.encoding.layers import VLAD, LocalFeatures
from tfvlad.encoding.layers import Whitening as WhiteningLayer
from tfvlad.encoding.whitening import Whitening, check_dim
from tfvlad.errors import ConfigError, ImageError, MismatchError
from tfvlad.images import loading as images
from tfvlad.images.listing import image_paths
from tfvlad.images.loading import Source, image_loader
from tfvlad.networks.backbones import NAMED, Backbone, load_backbone, load_cut_backbone

Floats = npt.NDArray[np.float32]


class Encoder:
    """Turns images into descriptors: local features, VLAD, PCA-whitening (Ng, Yang and Davis 2015).

    Attributes:
      config: the settings, with the layer and the preprocessing that were found for them.
      backbone: the sub-model that gives the local features.
      codebook: (K, C) float32 centroids.
      whitening: fitted PCA-whitening, or None where `config.dim` is None.
      dim: length of a descriptor.
      fingerprint: hex digest of everything that shapes a descriptor.
      max_pixels: `config.max_pixels`.
      extractor: runs the backbone over images.
      engine: runs the whole encoder: on a GPU as one graph, else through the kernels.
    """

    def __init__(
        self, config: EncoderConfig, extractor: FeatureExtractor, codebook: Floats, whitening: Whitening | None
    ) -> None:
        """Ties fitted parts together; `fit` and `load` are the usual ways to get an encoder."""
        backbone = extractor.backbone
        self.config = dataclasses.replace(config, layer=backbone.layer, preprocessing=backbone.preprocessing)
        self.backbone = backbone
        self.codebook = codebook
        self.whitening = whitening
        self.dim = whitening.dim if whitening else codebook.size
        self.max_pixels = config.max_pixels
        self.fingerprint = _fingerprint(self.config, backbone, codebook, whitening)
        self.extractor = extractor
        self.engine: Engine = (
            GraphEngine(extractor, self.model())
            if tf.config.list_logical_devices("GPU")
            else KernelEngine(extractor, self.config, codebook, whitening)
        )

    @classmethod
    def fit(
        cls,
        photographs: str | os.PathLike[str] | Iterable[Source],
        config: EncoderConfig | None = None,
        seed: int = 0,
        on_error: OnError | None = None,
    ) -> Encoder:
        """Fits the codebook and the whitening.

        Both are fitted on bounded, seeded samples, so time and memory stop growing with the number of images.

        Args:
          photographs: a folder, or several images (see `encode`).
          config: settings; the default is VGG16's `block4_conv3` at 448 pixels.
          seed: makes the result reproducible.
          on_error: called for each image that cannot be used, which is then left out; None raises instead.

        Raises:
          ConfigError: a setting does not fit, or there are too few images for `config.dim`.
          WeightsError: the network's weights cannot be had.
          ImageError: an image cannot be used, and there is no `on_error`.
        """
        config = config or EncoderConfig()
        sources = _list_sources(photographs)
        backbone = load_backbone(config)
        if config.dim is not None:
            check_dim(config.dim, len(sources), config.clusters * backbone.channels)
        extractor = _extractor(config, backbone)
        fitting = Fitting(sources, extractor, config, seed, on_error)
        codebook = fitting.codebook()
        whitening = None if config.dim is None else fitting.whitening(codebook, config.dim)
        return cls(config, extractor, codebook, whitening)

    def encode(self, sources: Source | Iterable[Source]) -> Floats:
        """Encodes images; a progress bar shows where it takes long and standard error is a terminal.

        Args:
          sources: one image or several, also a generator: paths, image files' bytes, or pixels as (H, W, 3) uint8 RGB.

        Returns:
          (n, dim) float32, unit length, in the order of the input.

        Raises:
          ImageError: the first image that cannot be encoded.
        """
        if isinstance(sources, str | os.PathLike | bytes) or (isinstance(sources, np.ndarray) and sources.ndim <= 3):
            sources = [sources]
        total = len(sources) if isinstance(sources, Sized) else None
        rows = []
        for row in tqdm(self.encode_stream(sources), "Encoding", total, disable=None, delay=2, unit=" images"):
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

    def local_features(self, source: Source) -> Floats:
        """The map of one image: (h, w, C) float32, unit length per cell.

        Raises:
          ImageError: the image cannot be used.
        """
        (window,) = self.extractor.stream([source])
        batch = window[0]
        if not isinstance(batch, FeatureBatch):
            raise batch[1]
        features: Floats = batch.features[0].reshape(*batch.grid, -1)
        return features

    def model(self) -> keras.Model:
        """The same encoder as one Keras model: (B, H, W, 3) float32, preprocessed -> (B, dim) float32."""
        config = self.config
        inputs = keras.Input((None, None, 3), name="images")
        x = LocalFeatures(name="local_features")(self.backbone.model(inputs))
        x = VLAD(config.clusters, config.intra_norm, config.power, centroids=self.codebook, name="vlad")(x)
        if self.whitening:
            x = WhiteningLayer(self.dim, *self.whitening.folded(), name="whitening")(x)
        return keras.Model(inputs, x, name="encoder")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the encoder's folder, whole or not at all; an encoder that is already there is replaced.

        Raises:
          ArtifactError: something else is there.
        """
        by_name = self.config.backbone in NAMED and self.config.weights == "imagenet"
        network = None if by_name else self.backbone.model
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
        stored = read_encoder(path)
        replaced: dict[str, Any] = {"max_pixels": max_pixels, "precision": precision}
        config = dataclasses.replace(
            stored.config, **{name: value for name, value in replaced.items() if value is not None}
        )
        backbone = load_backbone(config) if stored.backbone is None else load_cut_backbone(stored.backbone, config)
        if backbone.channels != stored.codebook.shape[1]:
            raise MismatchError(
                f"{os.fsdecode(path)}: the network gives features of {backbone.channels} channels, the codebook has "
                f"{stored.codebook.shape[1]}"
            )
        if _fingerprint(stored.config, backbone, stored.codebook, stored.whitening) != stored.fingerprint:
            raise MismatchError(
                f"{os.fsdecode(path)}: this tfvlad, or the weights of {stored.config.backbone} found here, would give "
                "other descriptors than the encoder was fitted with; fit it anew"
            )
        return cls(config, _extractor(config, backbone), stored.codebook, stored.whitening)


def _extractor(config: EncoderConfig, backbone: Backbone) -> FeatureExtractor:
    loader = image_loader(config.image_size, config.resize, backbone.preprocessing, config.max_pixels)
    return FeatureExtractor(backbone, loader, config.image_size)


def _list_sources(photographs: str | os.PathLike[str] | Iterable[Source]) -> list[Source]:
    if not isinstance(photographs, str | os.PathLike):
        sources = list(photographs)
        if not sources:
            raise ConfigError("there are no images to fit on")
        return sources
    return list(image_paths(photographs))


def _fingerprint(config: EncoderConfig, backbone: Backbone, codebook: Floats, whitening: Whitening | None) -> str:
    digest = hashlib.sha256()
    shaping: dict[str, Any] = {
        "preprocessing version": images.VERSION,
        "backbone": backbone.digest,
        **{
            name: getattr(config, name)
            for name in ("layer", "preprocessing", "image_size", "resize", "intra_norm", "power")
        },
    }
    if config.precision != "float32":  # cosines to float32 fall to 0.991 (bfloat16) and 0.996 (float16) on photographs
        shaping["precision"] = config.precision
    digest.update(json.dumps(shaping, sort_keys=True).encode())
    tensors = [codebook, *(dataclasses.astuple(whitening) if whitening else ())]
    for tensor in tensors:
        digest.update(f"{tensor.shape} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()
