"""The headers of image files, read inside a TensorFlow graph: which format, and numbers at byte positions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")

# Steps that a walk through a file takes at most. Real files have far fewer segments, chunks or sub-blocks of other
# sizes than the one before; a file of nothing else must not take a minute.
MOST_BLOCKS = 4096

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")


def image_format(data: Tensor) -> Tensor:
    """Recognises an image by its first bytes, whatever its file is called.

    Args:
      data: () string, the file's bytes.

    Returns:
      () int32, the position in `FORMATS`; their number for anything else.
    """
    head = tf.strings.join([tf.strings.substr(data, 0, 12), b"\0" * 12])
    matches = [tf.equal(tf.strings.substr(head, 0, len(magic)), magic) for magic in _MAGIC]
    matches.append(tf.equal(tf.strings.substr(head, 0, 4), b"RIFF") & tf.equal(tf.strings.substr(head, 8, 4), b"WEBP"))
    return tf.argmax(tf.stack([*matches, True]), output_type=tf.int32)


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
