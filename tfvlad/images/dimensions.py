"""How many pixels an image's header announces, inside a TensorFlow graph: checked before a decoder allocates them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfvlad.images.headers import big_endian, bytes_at, little_endian

Tensor = Any


def require_pixels(width: Tensor, height: Tensor, max_pixels: int) -> Tensor:
    """Refuses images of no pixels and of too many.

    Args:
      width: () int64, pixels.
      height: () int64, pixels.
      max_pixels: the most that are decoded.

    Returns:
      An operation that a decoder is to depend on.

    Raises:
      tf.errors.InvalidArgumentError: when run; the assertion's text is the reason.
    """
    shape = tf.strings.join([tf.strings.as_string(width), "x", tf.strings.as_string(height), " pixels"])
    is_empty = (width < 1) | (height < 1)
    fits = width <= max_pixels // tf.maximum(height, 1)
    empty = tf.strings.join(["a damaged or truncated header of ", shape])
    large = tf.strings.join([shape, f" are more than max_pixels={max_pixels}; --max_pixels raises the limit"])
    return tf.debugging.Assert(fits & ~is_empty, [tf.where(is_empty, empty, large)])


def jpeg_dimensions(data: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, () int64, of a JPEG's frame header."""
    sides = tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)
    return sides[1], sides[0]


def png_dimensions(data: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, () int64, of a PNG's IHDR; zeros where that is not the first chunk."""
    header = bytes_at(data, 12, 12)
    is_first = tf.cast(tf.reduce_all(tf.equal(header[:4], [*b"IHDR"])), tf.int64)
    return big_endian(header[4:8]) * is_first, big_endian(header[8:]) * is_first


def gif_dimensions(data: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, () int64, of a GIF's screen or of the image at `frame`, whichever is larger."""
    screen, image = bytes_at(data, 6, 4), bytes_at(data, frame + 5, 4)
    width, height = (tf.maximum(little_endian(screen[i : i + 2]), little_endian(image[i : i + 2])) for i in (0, 2))
    return width, height


def bmp_dimensions(data: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, () int64, of a BMP; a negative height, which puts the first row on top, counts as positive."""
    width, height = (_signed(little_endian(bytes_at(data, position, 4))) for position in (18, 22))
    return width, tf.abs(height)


def webp_dimensions(data: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, () int64, of a still WebP: RFC 9649 for VP8X and VP8L, RFC 6386 section 9.1 for VP8.

    Of a VP8X file, those of the canvas, which libwebp compares with the image's own before it decodes.
    """
    kind, numbers = tf.strings.substr(data, 12, 4), bytes_at(data, 20, 10)
    lossless = little_endian(numbers[1:5])
    sides = tf.stack(
        [
            [little_endian(numbers[4:7]) + 1, little_endian(numbers[7:10]) + 1],
            [little_endian(numbers[6:8]) % 2**14, little_endian(numbers[8:10]) % 2**14],
            [lossless % 2**14 + 1, lossless // 2**14 % 2**14 + 1],
        ]
    )
    is_kind = tf.cast(tf.equal(kind, [b"VP8X", b"VP8 ", b"VP8L"]), tf.int64)
    width, height = tf.unstack(tf.reduce_sum(sides * is_kind[:, tf.newaxis], axis=0))
    return width, height


def _signed(number: Tensor) -> Tensor:
    """() int64 of 32 bits -> the number in two's complement."""
    return number - tf.where(number >= 2**31, tf.constant(2**32, tf.int64), 0)
