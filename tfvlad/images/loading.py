"""Prepares an image for a network: reads it, decodes it, turns it upright, resizes it and scales its pixels.

Fitting, indexing, searching and the exported model share this one preprocessing. Everything after the reading of the
file is TensorFlow graph code, so an exported model prepares an image exactly as indexing did.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import MAX_PIXELS, Preprocessing, Resize
from tfvlad.errors import ImageError
from tfvlad.images._decoding import decode, on_white, try_decode
from tfvlad.images._headers import FORMATS, image_format
from tfvlad.images._orientation import read_orientation, turn_upright
from tfvlad.images.listing import LARGEST_FILE, too_large

Tensor = Any
Source: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]

# Raised whenever the pixels that the network sees change, so that older descriptors are not mixed with newer ones.
VERSION = 1

_WIDE = 2**14  # pixels; a wider image is resized lying on its side

_IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
_IMAGENET_STD_RGB = (0.229, 0.224, 0.225)
_IMAGENET_MEAN_BGR_255 = (103.939, 116.779, 123.68)


class ImageLoader:
    """Turns one image at a time into the tensor that a network takes.

    Example:
      >>> ImageLoader(224, "stretch", "caffe").load("photograph.jpg").shape
      TensorShape([224, 224, 3])

    Args:
      image_size: see `tfvlad.config.EncoderConfig`, as for the other three.
      resize: ``stretch`` or ``fit``.
      preprocessing: how pixels are scaled.
      max_pixels: an image with more is refused.

    Attributes:
      from_bytes: graph function, () string -> (h, w, 3) float32.
      try_bytes: the same without failing; it also gives () bool, False where `from_bytes` would fail. The image is then
        meaningless.
      from_pixels: graph function, (H, W, 3) uint8 -> (h, w, 3) float32.
    """

    def __init__(
        self, image_size: int, resize: Resize, preprocessing: Preprocessing, max_pixels: int = MAX_PIXELS
    ) -> None:
        limits: dict[str, Any] = {"at_least": image_size, "stretch": resize == "stretch", "max_pixels": max_pixels}

        def prepare(pixels: Tensor, data: Tensor) -> Tensor:
            image = fit_to(pixels, image_size, resize)
            return preprocess(turn_upright(image, read_orientation(data)), preprocessing)

        def from_bytes(data: Tensor) -> Tensor:
            return prepare(decode(data, **limits), data)

        def try_bytes(data: Tensor) -> tuple[Tensor, Tensor]:
            pixels, succeeded = try_decode(data, **limits)
            return prepare(pixels, tf.where(succeeded, data, b"")), succeeded

        def from_pixels(pixels: Tensor) -> Tensor:
            return preprocess(fit_to(pixels, image_size, resize), preprocessing)

        def at_size(pixels: Tensor, side: Tensor) -> Tensor:
            return preprocess(fit_to(pixels, side, resize), preprocessing)

        self.from_bytes: Callable[[Tensor], Tensor] = tf.function(
            from_bytes, input_signature=[tf.TensorSpec((), tf.string)]
        )
        self.try_bytes: Callable[[Tensor], tuple[Tensor, Tensor]] = tf.function(
            try_bytes, input_signature=[tf.TensorSpec((), tf.string)]
        )
        self.from_pixels: Callable[[Tensor], Tensor] = tf.function(
            from_pixels, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)]
        )
        self._at_size: Callable[[Tensor, Tensor], Tensor] = tf.function(
            at_size, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)]
        )

    def load(self, source: Source) -> Tensor:
        """Reads and prepares one image.

        Args:
          source: a path, an image file's bytes, or pixels: (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, uint8.

        Returns:
          (h, w, 3) float32.

        Raises:
          ImageError: the file cannot be read, or it is not an image that can be decoded.
        """
        if isinstance(source, np.ndarray):
            return self.from_pixels(rgb_pixels(source))
        name = source_name(source)
        data = source if isinstance(source, bytes) else read_file(source)
        return run_decoder(self.from_bytes, data, name)

    def load_pixels(self, pixels: npt.NDArray[np.uint8], side: int) -> Tensor:
        """Prepares pixels at another size than `image_size`.

        Args:
          pixels: (H, W, 3) uint8 RGB.
          side: pixels; takes the place of `image_size`.

        Returns:
          (h, w, 3) float32.
        """
        with tf.device("CPU"):
            return self._at_size(tf.constant(pixels), tf.constant(side))


def run_decoder(decoder: Callable[[Tensor], Tensor], data: bytes, name: str) -> Tensor:
    """Runs a graph function that decodes a file's bytes, () string, on the CPU.

    Raises:
      ImageError: the bytes are not an image that can be decoded; `name` is the error's path.
    """
    if not data:
        raise ImageError(name, "an empty file")
    try:
        with tf.device("CPU"):
            return decoder(tf.constant(data))
    except (tf.errors.OpError, UnicodeDecodeError) as error:  # TensorFlow's message may quote the file's bytes
        raise ImageError(name, _reason(data, error)) from None


@functools.lru_cache(maxsize=8)
def image_loader(
    image_size: int, resize: Resize, preprocessing: Preprocessing, max_pixels: int = MAX_PIXELS
) -> ImageLoader:
    """The loader for these settings; its graph is traced once in a process."""
    return ImageLoader(image_size, resize, preprocessing, max_pixels)


def fit_to(image: Tensor, image_size: int | Tensor, resize: Resize) -> Tensor:
    """Resizes with an anti-aliased bilinear filter.

    Args:
      image: (H, W, 3) uint8.
      image_size: pixels, also as a () int32 tensor; see `resize`.
      resize: ``stretch`` gives (image_size, image_size, 3); ``fit`` makes the longest side image_size pixels, up or
        down, and keeps the aspect ratio to the nearest pixel.

    Returns:
      (h, w, 3) float32 in [0, 255].
    """
    if resize == "stretch":
        return _resize(image, tf.stack([image_size, image_size]))
    sides = tf.cast(tf.shape(image)[:2], tf.float64)
    scaled = tf.round(sides * (tf.cast(image_size, tf.float64) / tf.reduce_max(sides)))
    return _resize(image, tf.maximum(tf.cast(scaled, tf.int32), 1))


def _resize(image: Tensor, size: Tensor) -> Tensor:
    """Resizes to (h, w), with little memory also for very wide images.

    TensorFlow changes the height first, and holds h rows of the image's full width as floats before it changes the
    width. Where the image is so wide that this takes more memory than the largest photograph, it is transposed before.
    """

    def on_its_side() -> Tensor:
        turned = tf.transpose(image, (1, 0, 2))
        return tf.transpose(tf.image.resize(turned, size[::-1], antialias=True), (1, 0, 2))

    is_wide = tf.shape(image)[1] > tf.maximum(tf.shape(image)[0], _WIDE)
    return tf.cond(is_wide, on_its_side, lambda: tf.image.resize(image, size, antialias=True))


def preprocess(image: Tensor, mode: Preprocessing) -> Tensor:
    """Scales pixels the way that a network was trained with (the modes of `keras.applications`).

    Args:
      image: (..., 3) float32 RGB in [0, 255].
      mode: ``caffe`` BGR minus the ImageNet mean; ``tf`` to [-1, 1]; ``torch`` to [0, 1], then standardised with
        the ImageNet mean and deviation; ``none`` leaves the values alone.

    Returns:
      (..., 3) float32.
    """
    if mode == "caffe":
        return tf.reverse(image, [-1]) - tf.constant(_IMAGENET_MEAN_BGR_255)
    if mode == "tf":
        return image / 127.5 - 1.0
    if mode == "torch":
        return (image / 255.0 - tf.constant(_IMAGENET_MEAN_RGB)) / tf.constant(_IMAGENET_STD_RGB)
    return image


def as_sources(sources: Source | Iterable[Source]) -> Iterable[Source]:
    """Takes one image or several, and gives several: one becomes a list of one, anything else stays as it is."""
    is_one = isinstance(sources, str | os.PathLike | bytes) or (isinstance(sources, np.ndarray) and sources.ndim <= 3)
    return [sources] if is_one else sources  # type: ignore[list-item, return-value]


def source_name(source: Source) -> str:
    """Names a source in messages: its path, ``<bytes>`` or ``<array>``."""
    if isinstance(source, np.ndarray):
        return "<array>"
    return "<bytes>" if isinstance(source, bytes) else os.fsdecode(source)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Reads a whole file.

    Raises:
      ImageError: it cannot be read, is no regular file, or is larger than any image file may be.
    """
    name = os.fsdecode(path)
    if "\0" in name:
        raise ImageError(name.replace("\0", "\\0"), "a path cannot hold a zero byte")
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(name, "is not a regular file")
            if reason := too_large(status.st_size):
                raise ImageError(name, reason)
            return file.read(status.st_size or LARGEST_FILE)  # some file systems tell no sizes
    except OSError as error:
        raise ImageError(name, error.strerror or type(error).__name__) from None


def _open_at_once(path: str, flags: int) -> int:
    """Opens a file; a named pipe is opened as well, without waiting for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def rgb_pixels(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Makes (H, W, 3) RGB of (H, W, 3), (H, W, 4) RGBA, composed on white, or (H, W) grey, all uint8.

    Raises:
      ImageError: another shape or dtype.
    """
    if pixels.dtype != np.uint8:
        raise ImageError("<array>", f"pixels must be uint8, got {pixels.dtype}")
    if pixels.size == 0 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ImageError("<array>", f"pixels must be (H, W, 3), (H, W, 4) or (H, W), got shape {pixels.shape}")
    if pixels.ndim == 2:
        return tf.repeat(pixels[..., np.newaxis], 3, axis=2)
    return on_white(pixels) if pixels.shape[2] == 4 else tf.constant(pixels)


def _reason(data: bytes, error: tf.errors.OpError | UnicodeDecodeError) -> str:
    """Turns a decoder's error, which names lines of C++ code, into one plain line about the image file."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return "there is not enough memory to decode it"
    asserted = re.search(r"assertion failed: \[b?'?(.+?)'?\]", str(error))
    if asserted:
        return asserted[1]
    code = int(image_format(tf.constant(data)))
    return f"a damaged or truncated {FORMATS[code]}"
