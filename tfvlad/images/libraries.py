"""Decodes those image files that TensorFlow's graph does not: by libraries, before it, in processes of their own.

These are the files of other formats, and JPEG, PNG and WebP files with a colour profile that changes what is seen. They
become plain pixels, upright and in sRGB, and then go the same way as all others. TensorFlow is not imported here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfvlad.images import _decoding_processes
from tfvlad.images._profiles import changing_profile
from tfvlad.images.formats import Format, recognise

_ENOUGH = 1024  # pixels of the shortest side that a picture keeps, however small the network's input is


def library_format(data: bytes, name: str) -> Format | None:
    """Finds out whether an image file is decoded by a library.

    Args:
      data: the file's bytes.
      name: of the file, for messages.

    Returns:
      Its format; None where TensorFlow's graph decodes it, or says that nothing does.

    Raises:
      PassingImageError: the library is not installed, or no process can be had.
    """
    form = recognise(data)
    if form is None or (form.in_graph and changing_profile(data, form, name) is None):
        return None
    form.require_library(name)
    return form


def library_pixels(
    data: bytes, name: str, max_pixels: int, shortest_side: int | None = None, longest_side: int | None = None
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Decodes an image file by a library, and makes a large one smaller by a whole number.

    Args:
      data: the file's bytes.
      name: of the file, for messages.
      max_pixels: a picture whose header announces more is refused before anything is allocated for it.
      shortest_side: pixels that the shortest side keeps at least; see `sides_for`. None leaves the full size.
      longest_side: pixels that the longest side keeps at least; only one of the two is given.

    Returns:
      (H, W, 3) uint8 RGB, upright, in sRGB, on white; and (width, height) of the upright picture in full size.

    Raises:
      ImageError: it is damaged or too large, or the library crashes or takes too long.
    """
    head = {"max_pixels": max_pixels, "shortest_side": shortest_side, "longest_side": longest_side}
    answer, body = _decoding_processes.ask(name, {"task": "decode", **head}, data)
    width, height = answer["size"]
    return np.frombuffer(body, np.uint8).reshape(answer["shape"]), (width, height)


def library_size(data: bytes, name: str) -> tuple[int, int]:
    """Width and height of an upright picture, from its header, by a library.

    Raises:
      ImageError: it is damaged where the size stands.
    """
    answer, _ = _decoding_processes.ask(name, {"task": "measure"}, data)
    width, height = answer["size"]
    return width, height


def sides_for(image_size: int) -> int:
    """The pixels that a picture's shortest side keeps for a network's input.

    It is the same number for all but the largest inputs, so that a client which does not know the input of a served
    encoder sends the pixels that an encoder takes here.

    Args:
      image_size: see `tfvlad.EncoderConfig`.
    """
    return max(2 * image_size, _ENOUGH)
