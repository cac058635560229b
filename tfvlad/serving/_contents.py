"""What is sent to a model server for an image: its file as it is, or a PNG of its pixels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfvlad.errors import ImageError
from tfvlad.images.files import read_file
from tfvlad.images.libraries import library_format, library_pixels, sides_for
from tfvlad.images.loading import rgb_pixels
from tfvlad.images.sources import Source, source_name


def sent_content(source: Source, image_size: int, max_pixels: int) -> tuple[bytes | ImageError, tuple[int, int] | None]:
    """Makes what is sent for a source: its file's bytes, or pixels as a PNG, which is lossless.

    A file that the exported model does not decode is decoded here, just as a `tfvlad.Encoder` does.

    Returns:
      What is sent, or what is wrong; and the picture's width and height if what is sent may have others.
    """
    name = source_name(source)
    try:
        if isinstance(source, np.ndarray):
            return _png(rgb_pixels(source)), None
        content = source if isinstance(source, bytes) else read_file(source)
        if not content:
            raise ImageError(name, "an empty file")
        if library_format(content, name):
            pixels, size = library_pixels(content, name, max_pixels, shortest_side=sides_for(image_size))
            return _png(pixels), size
    except ImageError as error:
        return error, None
    return content, None


def _png(pixels: tf.Tensor) -> bytes:
    return bytes(tf.io.encode_png(pixels).numpy())
