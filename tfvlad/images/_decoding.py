"""Decodes images into RGB pixels inside a TensorFlow graph: JPEG, PNG, GIF, BMP and WebP."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfvlad.images._animation import gif_frame, still_gif, still_webp
from tfvlad.images._headers import (
    bmp_dimensions,
    by_format,
    bytes_at,
    gif_dimensions,
    jpeg_dimensions,
    little_endian,
    png_dimensions,
    require_pixels,
    webp_dimensions,
)
from tfvlad.images.formats import NOT_AN_IMAGE

Tensor = Any

_JPEG_REDUCTIONS = (1, 2, 4, 8)
_MOST_SCANS = 100  # of an image of max_pixels; progressive JPEGs have about ten, and smaller ones may have more
_STRIP = 2**20  # pixels that are converted to floats at a time


def decode(data: Tensor, at_least: int, stretch: bool, max_pixels: int, known_format: int | None = None) -> Tensor:
    """Decodes one image as it lies in the file, not yet turned upright.

    JPEG: baseline, progressive, grey, CMYK, decoded at 1/2, 1/4 or 1/8 of its size (a reduced inverse DCT) where
    `at_least` allows it. PNG: palette, alpha, 16 bits. GIF and WebP: the first frame of an animation. BMP: 8, 24 and
    32 bits. Alpha is composed on white, except in GIF, whose transparent pixels TensorFlow gives as black.

    Args:
      data: () string, the file's bytes.
      at_least: pixels that the image will be resized to; a JPEG is not reduced below that.
      stretch: whether both sides must keep `at_least` pixels, or only the longest one.
      max_pixels: an image whose header announces more is refused before anything is allocated for it.
      known_format: see `tfvlad.images._headers.by_format`.

    Returns:
      (H, W, 3) uint8.

    Raises:
      tf.errors.InvalidArgumentError: when run, for a damaged file, another format, or too many pixels.
    """
    decoders = _decoders(at_least, stretch, max_pixels)
    pixels = by_format(data, [functools.partial(decoder, data) for decoder in decoders], known_format)
    return tf.ensure_shape(pixels, (None, None, 3))


def try_decode(data: Tensor, at_least: int, stretch: bool, max_pixels: int) -> tuple[Tensor, Tensor]:
    """Decodes one image like `decode`, without failing.

    Returns:
      (H, W, 3) uint8, a single black pixel where `decode` would raise; and () bool, False in that case.
    """
    black = tf.zeros((1, 1, 3), tf.uint8)
    decoders = _decoders(at_least, stretch, max_pixels)
    # Each format has an attempt of its own, inside the choice of the format: `attempt` should hold few operations.
    attempts = [functools.partial(attempt, decoder, data, black) for decoder in decoders]
    pixels, succeeded = by_format(data, attempts, None)
    return tf.ensure_shape(pixels, (None, None, 3)), succeeded


def _decoders(at_least: int, stretch: bool, max_pixels: int) -> list[Callable[[Tensor], Tensor]]:
    """Functions from () string to (H, W, 3) uint8, in the order of `FORMATS`, and one for everything else."""
    return [
        functools.partial(_decode_jpeg, max_pixels=max_pixels, at_least=at_least, stretch=stretch),
        functools.partial(_decode_png, max_pixels=max_pixels),
        functools.partial(_decode_gif, max_pixels=max_pixels),
        functools.partial(_decode_bmp, max_pixels=max_pixels),
        functools.partial(_decode_webp, max_pixels=max_pixels),
        _refuse,
    ]


def dimensions(data: Tensor, known_format: int | None = None) -> Tensor:
    """Width and height in pixels of an encoded image, as it lies in the file, from its header: (2,) int64.

    Args:
      data: () string, the file's bytes.
      known_format: see `tfvlad.images._headers.by_format`.

    Raises:
      tf.errors.InvalidArgumentError: when run, for another format, or a header that is cut off.
    """

    def of_gif(data: Tensor) -> tuple[Tensor, Tensor]:
        start, end = gif_frame(data)
        with tf.control_dependencies([tf.debugging.Assert(end > 0, ["a damaged or truncated GIF"])]):
            return gif_dimensions(data, tf.identity(start))

    def of_webp(data: Tensor) -> tuple[Tensor, Tensor]:
        return webp_dimensions(still_webp(data))

    def of_nothing(data: Tensor) -> tuple[Tensor, Tensor]:
        pixels = _refuse(data)
        return tf.shape(pixels, tf.int64)[0], tf.shape(pixels, tf.int64)[1]

    finders = (jpeg_dimensions, png_dimensions, of_gif, bmp_dimensions, of_webp, of_nothing)
    branches = [lambda find=find: tf.stack(find(data)) for find in finders]
    return tf.ensure_shape(by_format(data, branches, known_format), (2,))


def on_white(pixels: Tensor) -> Tensor:
    """Composes grey or colour with alpha on white.

    Args:
      pixels: (H, W, 2) or (H, W, 4) uint8, alpha last.

    Returns:
      (H, W, 3) uint8.
    """
    shape = tf.shape(pixels)
    flat = tf.reshape(pixels, (-1, shape[2]))

    def compose(start: Tensor, strips: Tensor) -> tuple[Tensor, Tensor]:
        strip = flat[start : start + _STRIP]
        alpha = tf.cast(strip[:, -1:], tf.float32) / 255.0
        composed = tf.cast(strip[:, :-1], tf.float32) * alpha + 255.0 * (1.0 - alpha)
        colour = tf.broadcast_to(tf.cast(tf.round(composed), tf.uint8), (tf.shape(strip)[0], 3))
        return start + _STRIP, strips.write(start // _STRIP, colour)

    count = tf.shape(flat)[0]
    strips = tf.TensorArray(tf.uint8, -(-count // _STRIP), infer_shape=False, element_shape=(None, 3))
    _, strips = tf.while_loop(lambda start, _: start < count, compose, (0, strips), parallel_iterations=1)
    return tf.reshape(strips.concat(), (shape[0], shape[1], 3))


def _decode_jpeg(data: Tensor, max_pixels: int, at_least: int, stretch: bool) -> Tensor:
    width, height = jpeg_dimensions(data)
    # Each scan visits every pixel, and a scan of one colour takes a few bytes: a small file can keep a core for hours.
    scans = tf.size(tf.strings.split([data], sep=b"\xff\xda").values, tf.int64) - 1
    is_quick = tf.debugging.Assert(
        scans * width * height <= _MOST_SCANS * max_pixels, ["a JPEG of so many scans that it would take minutes"]
    )
    with tf.control_dependencies([require_pixels(width, height, max_pixels), is_quick]):
        bound = tf.minimum(width, height) if stretch else tf.maximum(width, height)
    enough = [bound >= at_least * reduction for reduction in _JPEG_REDUCTIONS[1:]]
    branches = [functools.partial(tf.io.decode_jpeg, data, 3, reduction) for reduction in _JPEG_REDUCTIONS]
    return tf.switch_case(tf.reduce_sum(tf.cast(tf.stack(enough), tf.int32)), branches)


def _decode_png(data: Tensor, max_pixels: int) -> Tensor:
    with tf.control_dependencies([require_pixels(*png_dimensions(data), max_pixels)]):
        # Asked for four channels, TensorFlow fills in an alpha of 1 where a grey PNG has one bit: so ask for none.
        pixels = tf.io.decode_png(data)
    channels = tf.shape(pixels)[-1]
    has_alpha = (channels == 2) | (channels == 4)
    return tf.cond(has_alpha, lambda: on_white(pixels), lambda: _three_channels(pixels))


def _three_channels(pixels: Tensor) -> Tensor:
    """(H, W, 1 or 3) uint8 -> (H, W, 3)."""
    return tf.cond(tf.shape(pixels)[-1] == 1, lambda: tf.repeat(pixels, 3, axis=2), lambda: pixels)


def _decode_gif(data: Tensor, max_pixels: int) -> Tensor:
    start, end = gif_frame(data)
    with tf.control_dependencies([tf.debugging.Assert(end > 0, ["a damaged or truncated GIF"])]):
        width, height = gif_dimensions(data, start)
    with tf.control_dependencies([require_pixels(width, height, max_pixels)]):
        return tf.io.decode_gif(still_gif(data, start, end))[0]


def _decode_bmp(data: Tensor, max_pixels: int) -> Tensor:
    """Decodes a BMP. TensorFlow takes a palette's indices for greys, and unused bytes for alpha: both are corrected."""
    header_size = little_endian(bytes_at(data, 14, 4))
    bits = little_endian(bytes_at(data, 28, 2))
    compression = little_endian(bytes_at(data, 30, 4))
    plain = (header_size >= 40) & (compression == 0) & ((bits == 8) | (bits == 24) | (bits == 32))
    masked = (header_size >= 40) & (compression == 3) & (bits == 32)
    is_supported = tf.debugging.Assert(plain | masked, ["only uncompressed BMPs of 8, 24 or 32 bits can be read"])
    with tf.control_dependencies([is_supported]):
        width, height = bmp_dimensions(data)
    with tf.control_dependencies([require_pixels(width, height, max_pixels)]):
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


def _decode_webp(data: Tensor, max_pixels: int) -> Tensor:
    still = still_webp(data)
    with tf.control_dependencies([require_pixels(*webp_dimensions(still), max_pixels)]):
        pixels = tf.io.decode_webp(still)[0]  # always a stack of frames
    return tf.cond(tf.shape(pixels)[-1] == 4, lambda: on_white(pixels), lambda: pixels[..., :3])


def _refuse(data: Tensor) -> Tensor:
    with tf.control_dependencies([tf.debugging.Assert(False, [NOT_AN_IMAGE])]):
        return tf.zeros((1, 1, 3), tf.uint8)


def attempt(function: Callable[[Tensor], Tensor], argument: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor]:
    """Calls a function inside a graph, and gives a replacement where the function's result cannot be computed.

    A graph has no other way to catch an error and to go on.

    A `tf.data` pipeline of one element drops the element on failure, and a second element takes its place. Such a
    pipeline costs half a millisecond where it is read as a single element, and ten times as much through an iterator.
    The function's operations are instantiated anew at each call, so there should be few of them.

    Args:
      function: graph operations.
      argument: what it is called with.
      otherwise: the replacement, of the same dtype; it may have another shape.

    Returns:
      The function's result or the replacement, and () bool, which is True for the former.
    """

    def run(argument: Tensor) -> tuple[Tensor, Tensor]:
        result = tf.data.Dataset.from_tensors(argument).map(lambda given: (function(given), True)).ignore_errors()
        replacement = tf.data.Dataset.from_tensors((otherwise, False))
        found: tuple[Tensor, Tensor] = result.concatenate(replacement).take(1).get_single_element()
        return found

    traced = tf.function(run, [tf.TensorSpec.from_tensor(argument)], autograph=False).get_concrete_function()
    # TensorFlow counts every reader of datasets as stateful, and runs one at a time. This one has no state: it is
    # called as stateless, so that several run at once.
    arguments = [argument, *traced.captured_inputs]
    outputs = tf.raw_ops.PartitionedCall(args=arguments, Tout=[output.dtype for output in traced.outputs], f=traced)
    result, succeeded = (tf.ensure_shape(*pair) for pair in zip(outputs, traced.output_shapes, strict=True))
    return result, succeeded
