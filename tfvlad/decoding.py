"""Encoded images -> RGB pixels, inside a TensorFlow graph: JPEG, PNG, GIF, BMP and WebP."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tfvlad.headers import bytes_at, image_format, little_endian

Tensor = Any

_JPEG_REDUCTIONS = (1, 2, 4, 8)


def decode(data: Tensor, at_least: int, stretch: bool) -> Tensor:
    """Decodes one image as it lies in the file, not yet turned upright.

    JPEG: baseline, progressive, grey, CMYK, decoded at 1/2, 1/4 or 1/8 of its size (a reduced inverse DCT) where
    `at_least` allows it. PNG: palette, alpha, 16 bits. GIF and WebP: the first frame of an animation. BMP: 8, 24 and
    32 bits. Alpha is composed on white, except in GIF, whose transparent pixels TensorFlow gives as black.

    Args:
      data: () string, the file's bytes.
      at_least: pixels; what the image will be resized to, so a JPEG's reduction stops before it.
      stretch: whether both sides, or only the longest, must keep `at_least` pixels.

    Returns:
      (H, W, 3) uint8.

    Raises:
      tf.errors.InvalidArgumentError: when run, for a damaged file or another format.
    """
    branches = [
        functools.partial(_decode_jpeg, data, at_least, stretch),
        functools.partial(_decode_png, data),
        functools.partial(_decode_gif, data),
        functools.partial(_decode_bmp, data),
        functools.partial(_decode_webp, data),
        functools.partial(_refuse, data),
    ]
    return tf.ensure_shape(tf.switch_case(image_format(data), branches), (None, None, 3))


def on_white(pixels: Tensor) -> Tensor:
    """Composes (H, W, 4) uint8 RGBA on white -> (H, W, 3) uint8."""
    alpha = tf.cast(pixels[..., 3:], tf.float32) / 255.0
    composed = tf.cast(pixels[..., :3], tf.float32) * alpha + 255.0 * (1.0 - alpha)
    return tf.cast(tf.round(composed), tf.uint8)


def _decode_jpeg(data: Tensor, at_least: int, stretch: bool) -> Tensor:
    sides = tf.image.extract_jpeg_shape(data)[:2]
    bound = tf.reduce_min(sides) if stretch else tf.reduce_max(sides)
    enough = [bound >= at_least * reduction for reduction in _JPEG_REDUCTIONS[1:]]
    branches = [functools.partial(tf.io.decode_jpeg, data, 3, reduction) for reduction in _JPEG_REDUCTIONS]
    return tf.switch_case(tf.reduce_sum(tf.cast(tf.stack(enough), tf.int32)), branches)


def _decode_png(data: Tensor) -> Tensor:
    # Asked for four channels, TensorFlow fills in an alpha of 1 where a grey PNG has one bit: so ask for what is there.
    pixels = tf.io.decode_png(data)
    channels = tf.shape(pixels)[-1]
    colour = tf.cond(channels <= 2, lambda: tf.repeat(pixels[..., :1], 3, axis=2), lambda: pixels[..., :3])
    has_alpha = (channels == 2) | (channels == 4)
    return tf.cond(has_alpha, lambda: on_white(tf.concat([colour, pixels[..., -1:]], axis=2)), lambda: colour)


def _decode_gif(data: Tensor) -> Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _decode_bmp(data: Tensor) -> Tensor:
    """TensorFlow reads a palette's indices as grey and takes unused bytes for alpha: both are mended here."""
    header_size = little_endian(bytes_at(data, 14, 4))
    bits = little_endian(bytes_at(data, 28, 2))
    compression = little_endian(bytes_at(data, 30, 4))
    plain = (header_size >= 40) & (compression == 0) & ((bits == 8) | (bits == 24) | (bits == 32))
    masked = (header_size >= 40) & (compression == 3) & (bits == 32)
    with tf.control_dependencies(
        [tf.debugging.Assert(plain | masked, ["only uncompressed BMPs of 8, 24 or 32 bits can be read"])]
    ):
        pixels = tf.io.decode_bmp(data)

    def from_palette() -> Tensor:
        count = little_endian(bytes_at(data, 46, 4))
        count = tf.where((count == 0) | (count > 256), tf.constant(256, tf.int64), count)
        palette = tf.reshape(bytes_at(data, 14 + header_size, 4 * count), (-1, 4))
        palette = tf.pad(palette, [[0, 256 - count], [0, 0]])
        return tf.gather(tf.cast(palette[:, 2::-1], tf.uint8), tf.cast(pixels[..., 0], tf.int32))

    return tf.case(
        [
            (bits == 8, from_palette),
            (masked & (tf.shape(pixels)[-1] == 4), lambda: on_white(pixels)),
        ],
        default=lambda: pixels[..., :3],
    )


def _decode_webp(data: Tensor) -> Tensor:
    pixels = tf.io.decode_webp(_still(data))[0]  # always a stack of frames
    return tf.cond(tf.shape(pixels)[-1] == 4, lambda: on_white(pixels), lambda: pixels[..., :3])


def _still(data: Tensor) -> Tensor:
    """The first frame of an animated WebP as a file of its own; other WebPs as they are.

    TensorFlow (2.21) writes beyond its buffer when it decodes an animated WebP with `expand_animations=False`.
    Layout: https://developers.google.com/speed/webp/docs/riff_container, "Extended File Format" and "Animation".
    """
    extended = tf.equal(tf.strings.substr(data, 12, 4), b"VP8X")
    flags = bytes_at(data, 20, 1)[0]
    return tf.cond(extended & (tf.bitwise.bitwise_and(flags, 2) != 0), lambda: _first_frame(data), lambda: data)


def _first_frame(data: Tensor) -> Tensor:
    length = tf.cast(tf.strings.length(data), tf.int64)

    def is_other(position: Tensor) -> Tensor:
        return (position < length) & tf.reduce_any(tf.not_equal(bytes_at(data, position, 4), [*b"ANMF"]))

    def following(position: Tensor) -> Tensor:
        size = little_endian(bytes_at(data, position + 4, 4))
        return position + 8 + size + size % 2

    start = tf.while_loop(is_other, lambda position: (following(position),), (tf.constant(12, tf.int64),))[0]
    with tf.control_dependencies([tf.debugging.Assert(start + 24 < length, ["a WebP animation without a frame"])]):
        size = little_endian(bytes_at(data, start + 4, 4))
    sides = tf.strings.substr(data, start + 14, 6)  # width - 1 and height - 1, 24 bits each, as in VP8X
    # A frame is 16 bytes of geometry, then the chunks of a still image.
    frame = tf.strings.substr(data, start + 24, tf.clip_by_value(size - 16, 0, length - start - 24))
    has_alpha_chunk = tf.equal(tf.strings.substr(frame, 0, 4), b"ALPH")
    canvas = tf.where(has_alpha_chunk, tf.strings.join([b"VP8X\x0a\0\0\0\x10\0\0\0", sides]), b"")
    body = tf.strings.join([b"WEBP", canvas, frame])
    return tf.strings.join([b"RIFF", _little_endian_bytes(tf.strings.length(body)), body])


def _little_endian_bytes(number: Tensor) -> Tensor:
    """() int32 -> () string of 4 bytes."""
    digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(number, [0, 8, 16, 24]), 255)
    return tf.strings.reduce_join(tf.gather(_ALL_BYTES, digits))


_ALL_BYTES = [bytes([value]) for value in range(256)]


def _refuse(data: Tensor) -> Tensor:
    with tf.control_dependencies([tf.debugging.Assert(False, ["not a JPEG, PNG, GIF, BMP or WebP image"])]):
        return tf.zeros((1, 1, 3), tf.uint8)
