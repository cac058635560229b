"""EXIF orientation, read from JPEG, PNG and WebP bytes inside a TensorFlow graph.

TensorFlow's decoders ignore EXIF. Reading it with graph operations lets an exported model turn a photograph upright
exactly as the Python pipeline does. Sources: CIPA DC-008 (EXIF 2.32), section 4.6.4; PNG 3rd edition, eXIf; the WebP
container specification.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfvlad.images._headers import FORMATS, MOST_BLOCKS, big_endian, by_format, bytes_at, little_endian

Tensor = Any

_NOT_FOUND = -1
_ORIENTATION_TAG = 0x0112
_MOST_TAGS = 1024  # of a real IFD some dozens; more is damage


def read_orientation(data: Tensor, known_format: int | None = None) -> Tensor:
    """Reads the EXIF orientation of an encoded image.

    Args:
      data: () string, the file's bytes, in any format.
      known_format: see `tfvlad.images._headers.by_format`.

    Returns:
      () int32, 1 to 8; 1 (upright) where there is no EXIF block, no orientation in it, or nonsense.
    """
    finders = {"JPEG": _find_in_jpeg, "PNG": _find_in_png, "WebP": _find_in_webp}
    branches = [functools.partial(finders.get(name, _find_nothing), data) for name in (*FORMATS, "")]
    tiff = by_format(data, branches, known_format)
    return tf.cond(tiff >= 0, lambda: _orientation_of_tiff(data, tiff), lambda: tf.constant(1))


def turn_upright(image: Tensor, orientation: Tensor) -> Tensor:
    """Undoes the camera's rotation or mirroring.

    Args:
      image: (H, W, C), any dtype.
      orientation: () int32, EXIF orientation, 1 to 8.

    Returns:
      (H, W, C), or (W, H, C) for orientations 5 to 8.
    """

    def one_of(*values: int) -> Tensor:
        return tf.reduce_any(tf.equal(orientation, values))

    image = tf.cond(one_of(5, 6, 7, 8), lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    image = tf.cond(one_of(2, 3, 6, 7), lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(one_of(3, 4, 7, 8), lambda: tf.reverse(image, [0]), lambda: image)


def _find_nothing(data: Tensor) -> Tensor:
    """Finds nothing, for the formats that carry no EXIF."""
    return tf.constant(_NOT_FOUND, tf.int64)


def _find_in_jpeg(data: Tensor) -> Tensor:
    """Finds the TIFF block in the APP1 segment: its position, () int64."""

    def step(position: Tensor) -> tuple[Tensor, Tensor]:
        head = bytes_at(data, position, 10)
        is_exif = tf.reduce_all(tf.equal(tf.gather(head, [0, 1, 4, 5, 6, 7, 8, 9]), [0xFF, 0xE1, *b"Exif\0\0"]))
        is_segment = (head[0] == 0xFF) & (head[1] != 0xDA)  # start of scan: no metadata behind it
        length = tf.where(head[1] == 0xFF, tf.constant(1, tf.int64), 2 + big_endian(head[2:4]))  # FF FF: a fill byte
        return _advance(position, length, tiff_at=10, found=is_exif, goes_on=is_segment)

    return _walk(data, 2, step)


def _find_in_png(data: Tensor) -> Tensor:
    """Finds the TIFF block in the eXIf chunk: its position, () int64."""

    def step(position: Tensor) -> tuple[Tensor, Tensor]:
        head = bytes_at(data, position, 8)
        is_exif = tf.reduce_all(tf.equal(head[4:], [*b"eXIf"]))
        return _advance(position, 12 + big_endian(head[:4]), tiff_at=8, found=is_exif)

    return _walk(data, 8, step)


def _find_in_webp(data: Tensor) -> Tensor:
    """Finds the TIFF block in the EXIF chunk: its position, () int64. Some writers put ``Exif\\0\\0`` there first."""

    def step(position: Tensor) -> tuple[Tensor, Tensor]:
        head = bytes_at(data, position, 14)
        is_exif = tf.reduce_all(tf.equal(head[:4], [*b"EXIF"]))
        prefixed = tf.reduce_all(tf.equal(head[8:], [*b"Exif\0\0"]))
        size = little_endian(head[4:8])
        return _advance(position, 8 + size + size % 2, tiff_at=tf.where(prefixed, 14, 8), found=is_exif)

    return _walk(data, 12, step)


def _advance(
    position: Tensor, length: Tensor, tiff_at: Tensor | int, found: Tensor, goes_on: Tensor | bool = True
) -> tuple[Tensor, Tensor]:
    """Makes one step of `_walk`: the next block's position (-1: stop), and that of the TIFF block (-1: unknown)."""
    following = tf.where(goes_on & ~found, position + tf.cast(length, tf.int64), _NOT_FOUND)
    return following, tf.where(found, position + tf.cast(tiff_at, tf.int64), _NOT_FOUND)


def _walk(data: Tensor, start: int, step: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Goes from block to block of a file, over `MOST_BLOCKS` at most, until `step` finds the TIFF block."""
    length = tf.cast(tf.strings.length(data), tf.int64)
    _, tiff = tf.while_loop(
        lambda position, tiff: (tiff < 0) & (position >= 0) & (position < length),
        lambda position, _: step(position),
        (tf.constant(start, tf.int64), tf.constant(_NOT_FOUND, tf.int64)),
        maximum_iterations=MOST_BLOCKS,
    )
    return tiff


def _orientation_of_tiff(data: Tensor, tiff: Tensor) -> Tensor:
    """Looks the orientation up in the first directory (IFD0) of a TIFF block."""
    is_little = tf.reduce_all(tf.equal(bytes_at(data, tiff, 2), [*b"II"]))

    def number(digits: Tensor) -> Tensor:
        return tf.where(is_little, little_endian(digits), big_endian(digits))

    directory = tiff + number(bytes_at(data, tiff + 4, 4))
    count = tf.minimum(number(bytes_at(data, directory, 2)), _MOST_TAGS)
    entries = tf.reshape(bytes_at(data, directory + 2, 12 * count), [-1, 12])
    weights = tf.where(is_little, tf.constant([1, 256], tf.int64), tf.constant([256, 1], tf.int64))
    tags = tf.reduce_sum(entries[:, 0:2] * weights, axis=1)
    values = tf.reduce_sum(entries[:, 8:10] * weights, axis=1)
    found = tf.boolean_mask(values, tf.equal(tags, _ORIENTATION_TAG) & (values >= 1) & (values <= 8))
    return tf.cast(tf.concat([found, tf.constant([1], tf.int64)], axis=0)[0], tf.int32)
