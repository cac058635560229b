"""Cuts the first frame out of an animated GIF or WebP, as an image file of its own, inside a TensorFlow graph.

TensorFlow's GIF decoder unpacks every frame before it gives the first, whatever memory that takes; its WebP decoder
(2.21) writes beyond its buffer where it is asked for the first frame of several. So both are given one frame only.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfvlad.images._headers import MOST_BLOCKS, bytes_at, little_endian

Tensor = Any

_LOOK_AHEAD = 128  # sub-blocks of a GIF


def gif_frame(data: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the first image of a GIF (GIF89a specification, sections 15 to 23).

    Returns:
      Two positions, () int64: where the image's descriptor starts, and where its last block ends. The second is 0 where
      the image is incomplete.
    """
    length = tf.cast(tf.strings.length(data), tf.int64)

    def is_extension(position: Tensor) -> Tensor:
        return tf.equal(bytes_at(data, position, 1)[0], 0x21)

    def following(position: Tensor) -> tuple[Tensor]:
        return (_behind_sub_blocks(data, position + 2, length),)

    start = 13 + _palette_size(bytes_at(data, 10, 1)[0])
    start = tf.while_loop(is_extension, following, (start,), maximum_iterations=MOST_BLOCKS)[0]
    descriptor = bytes_at(data, start, 10)
    end = _behind_sub_blocks(data, start + 11 + _palette_size(descriptor[9]), length)
    whole = tf.equal(descriptor[0], 0x2C) & tf.equal(bytes_at(data, end - 1, 1)[0], 0) & (end <= length)
    return start, tf.where(whole, end, 0)


def still_gif(data: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Cuts a GIF off after its first image.

    The image is moved to the corner, because TensorFlow's canvas is only as large as the image: an offset would cut it.

    Args:
      data: () string, the file's bytes.
      start: () int64, from `gif_frame`.
      end: () int64, likewise.
    """
    before = tf.strings.substr(data, tf.zeros_like(start), start + 1)
    behind = tf.strings.substr(data, start + 5, end - start - 5)
    return tf.strings.join([before, b"\0\0\0\0", behind, b";"])


def still_webp(data: Tensor) -> Tensor:
    """Makes a still WebP of an animated one's first frame, without its offset; a still WebP is returned unchanged.

    Layout: https://developers.google.com/speed/webp/docs/riff_container, "Extended File Format" and "Animation".

    Raises:
      tf.errors.InvalidArgumentError: when the graph runs, for an animation whose first frame is no still image.
    """
    extended = tf.equal(tf.strings.substr(data, 12, 4), b"VP8X")
    flags = bytes_at(data, 20, 1)[0]
    return tf.cond(extended & (tf.bitwise.bitwise_and(flags, 2) != 0), lambda: _first_webp_frame(data), lambda: data)


def _first_webp_frame(data: Tensor) -> Tensor:
    length = tf.cast(tf.strings.length(data), tf.int64)

    def is_other(position: Tensor) -> Tensor:
        return (position < length) & tf.reduce_any(tf.not_equal(bytes_at(data, position, 4), [*b"ANMF"]))

    def following(position: Tensor) -> tuple[Tensor]:
        size = little_endian(bytes_at(data, position + 4, 4))
        return (position + 8 + size + size % 2,)

    start = (tf.constant(12, tf.int64),)
    start = tf.while_loop(is_other, following, start, maximum_iterations=MOST_BLOCKS)[0]
    # A frame is 16 bytes of geometry, then the chunks of a still image.
    size = little_endian(bytes_at(data, start + 4, 4))
    first = tf.clip_by_value(start + 24, 0, length)
    frame = tf.strings.substr(data, first, tf.clip_by_value(size - 16, 0, length - first))
    kind = tf.strings.substr(frame, 0, 4)
    is_still = tf.reduce_any(tf.equal(kind, [b"ALPH", b"VP8 ", b"VP8L"]))  # not one more animation
    with tf.control_dependencies([tf.debugging.Assert(is_still, ["a WebP animation without a first frame"])]):
        sides = tf.strings.substr(data, tf.minimum(start + 14, length), 6)  # less one, 24 bits each, as in VP8X
    canvas = tf.where(tf.equal(kind, b"ALPH"), tf.strings.join([b"VP8X\x0a\0\0\0\x10\0\0\0", sides]), b"")
    body = tf.strings.join([b"WEBP", canvas, frame])
    return tf.strings.join([b"RIFF", _little_endian_bytes(tf.strings.length(body)), body])


def _palette_size(flags: Tensor) -> Tensor:
    """Bytes of the colour table that a GIF's packed field announces."""
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8), 0)


def _behind_sub_blocks(data: Tensor, position: Tensor, length: Tensor) -> Tensor:
    """Finds the position after a GIF's sub-blocks. Each has its size before it, and the last one is empty.

    Encoders write most sub-blocks with the same size, so a run of equal ones is skipped in one step. A file that needs
    more than `MOST_BLOCKS` steps counts as damaged.
    """

    def is_block(position: Tensor) -> Tensor:
        return (position < length) & (bytes_at(data, position, 1)[0] != 0)

    def skip(position: Tensor) -> tuple[Tensor]:
        step = 1 + bytes_at(data, position, 1)[0]
        sizes = bytes_at(data, position, _LOOK_AHEAD * step)[::step]
        others = tf.concat([tf.not_equal(sizes, step - 1), [True]], axis=0)
        return (position + step * tf.argmax(others),)

    position = tf.while_loop(is_block, skip, (position,), maximum_iterations=MOST_BLOCKS)[0]
    return position + 1


def _little_endian_bytes(number: Tensor) -> Tensor:
    """() int32 -> () string of 4 bytes."""
    digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(number, [0, 8, 16, 24]), 255)
    return tf.strings.reduce_join(tf.gather(_ALL_BYTES, digits))


_ALL_BYTES = [bytes([value]) for value in range(256)]
