"""The headers of image files, read inside a TensorFlow graph: which format it is, and how many pixels are announced.

The number of pixels is checked before a decoder allocates memory for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfvlad.images.formats import IN_GRAPH, recognise

Tensor = Any

FORMATS = tuple(form.name for form in IN_GRAPH)

# A walk through the blocks of a file takes so many steps at most. Real files need far fewer; a file that was made of
# tiny blocks on purpose must not take a minute.
MOST_BLOCKS = 4096

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")


def image_format(data: Tensor) -> Tensor:
    """Recognises an image by its first bytes, whatever its file is called.

    Args:
      data: (...) string, the bytes of files.

    Returns:
      (...) int32, the position in `FORMATS`; their number for anything else.
    """
    head = tf.strings.join([tf.strings.substr(data, 0, 12), b"\0" * 12])
    matches = [tf.equal(tf.strings.substr(head, 0, len(magic)), magic) for magic in _MAGIC]
    matches.append(tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & tf.equal(tf.strings.substr(head, 8, 4), b"WEBP"))
    return tf.argmax(tf.stack([*matches, tf.ones_like(matches[0])]), axis=0, output_type=tf.int32)


def format_of(data: bytes) -> int:
    """Recognises an image by its first bytes, outside a graph; see `image_format`."""
    form = recognise(data)
    return IN_GRAPH.index(form) if form in IN_GRAPH else len(IN_GRAPH)


def by_format(data: Tensor, branches: Sequence[Callable[[], Tensor]], known: int | None) -> Tensor:
    """Runs that of several graph functions which is for an image's format.

    Args:
      data: () string, the file's bytes.
      branches: one for each of `FORMATS`, and one for everything else.
      known: what `format_of` says of the bytes, so that the graph holds the work for one format only, which makes its
        first run a second faster; None finds it out in the graph.
    """
    return tf.switch_case(image_format(data), branches) if known is None else branches[known]()


def bytes_at(data: Tensor, position: Tensor | int, count: Tensor | int) -> Tensor:
    """Bytes of a string as numbers, (count,) int64; what lies beyond the end reads as zero."""
    length = tf.cast(tf.strings.length(data), tf.int64)
    start = tf.clip_by_value(tf.cast(position, tf.int64), 0, length)
    count = tf.cast(count, tf.int64)
    found = tf.cast(tf.io.decode_raw(tf.strings.substr(data, start, count), tf.uint8), tf.int64)
    return tf.pad(found, [[0, count - tf.size(found, tf.int64)]])


def little_endian(digits: Tensor) -> Tensor:
    """(N,) int64 bytes, least significant first -> () int64."""
    return tf.reduce_sum(tf.bitwise.left_shift(digits, 8 * tf.range(tf.size(digits, tf.int64))))


def big_endian(digits: Tensor) -> Tensor:
    """(N,) int64 bytes, most significant first -> () int64."""
    return little_endian(tf.reverse(digits, [0]))


def require_pixels(width: Tensor, height: Tensor, max_pixels: int) -> Tensor:
    """Refuses an image that has no pixels, or too many.

    Args:
      width: () int64, pixels.
      height: () int64, pixels.
      max_pixels: the most that are decoded.

    Returns:
      An operation that the decoder must have as a control dependency.

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs; the text of the assertion is the reason.
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

    For a VP8X file they are the sides of the canvas. Before it decodes, libwebp checks that the image has the same.
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
