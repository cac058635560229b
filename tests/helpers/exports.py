"""Encoders over tiny networks and their exports, made once in a session: tracing and saving takes seconds."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.serving.saved_model import saved_model

SIDE = 64  # pixels


@dataclasses.dataclass
class Exported:
    """An encoder, and the model that `saved_model` exported it to."""

    encoder: tfvlad.Encoder
    path: Path
    signatures: Any

    def describe(self, *images: bytes) -> tuple[np.ndarray, list[bool]]:
        """Asks the exported model for the descriptors of encoded images, and whether each is valid."""
        told = self.signatures["serving_default"](image_bytes=tf.constant(images, tf.string, (len(images),)))
        return told["descriptor"].numpy(), told["valid"].numpy().tolist()


ExportWith = Callable[[str], Exported]


def drawn_photographs() -> list[Image.Image]:
    """Draws twelve images of coloured blots, each of another height."""
    generator = np.random.default_rng(0)
    blots = [Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8)) for _ in range(12)]
    return [blot.resize((150, 90 + 5 * n), Image.Resampling.BICUBIC) for n, blot in enumerate(blots)]


def make_exports(folder: Path) -> ExportWith:
    """Returns a function from a way of resizing to its export; the layer of ``fit`` has no cell in small images."""
    photographs = [np.asarray(photograph) for photograph in drawn_photographs()]

    @functools.cache
    def made(resize: Any) -> Exported:
        place = folder / resize
        place.mkdir()
        network = save_tiny_network(place / "tiny.keras") if resize == "stretch" else _save_window(place / "tiny.keras")
        config = tfvlad.EncoderConfig(
            backbone=network, layer="second", preprocessing="caffe", image_size=SIDE, resize=resize, clusters=4, dim=6,
            codebook_samples=500,
        )  # fmt: skip
        encoder = tfvlad.Encoder.fit(photographs, config)
        path = saved_model(encoder, place / "covers")
        return Exported(encoder, Path(path), tf.saved_model.load(path).signatures)

    return made


def _save_window(path: Path) -> str:
    """Saves a network of one convolution whose window, 9 high and 5 wide, must fit into the image."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(8, (9, 5), strides=4, name="second")(inputs)).save(path)
    return str(path)


def png(image: Image.Image) -> bytes:
    """Encodes an image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
