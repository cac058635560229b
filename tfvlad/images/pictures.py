"""Decodes image files with Pillow, without TensorFlow: bounded, upright, and in the formats that are meant only.

The formats that TensorFlow's graph decodes, too, are decoded here, all others in processes of their own.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tfvlad.config import MAX_PIXELS
from tfvlad.errors import ImageError
from tfvlad.images.formats import IN_GRAPH, NOT_AN_IMAGE
from tfvlad.images.libraries import library_format, library_pixels

# Pillow's names of the formats that are decoded here; it knows forty more, some of which few people look after.
FORMATS = tuple(form.pillow for form in IN_GRAPH)

_ORIENTATION = 0x0112  # EXIF's tag
_MOST_SCANS = 100  # of a JPEG of max_pixels, as in `tfvlad.images._decoding`


def open_picture(data: bytes, name: str, max_pixels: int = MAX_PIXELS, longest_side: int | None = None) -> Image.Image:
    """Decodes an image file; of an animation, the first picture.

    Args:
      data: the file's bytes, whoever made them.
      name: of the file, for messages.
      max_pixels: a picture whose header announces more is refused before it is decoded.
      longest_side: pixels that are needed; a JPEG is decoded at a fraction of its size, to no less than twice as many.

    Returns:
      The picture, upright as its EXIF orientation says, in any of Pillow's modes of 8 bits, in sRGB.

    Raises:
      ImageError: it is damaged, too large, or of another format.
    """
    return open_sized(data, name, max_pixels, longest_side)[0]


def open_sized(
    data: bytes, name: str, max_pixels: int = MAX_PIXELS, longest_side: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decodes an image file like `open_picture`, and gives its width and height in full size, upright, too."""
    if not data:
        raise ImageError(name, "an empty file")
    if library_format(data, name):
        enough = None if longest_side is None else 2 * longest_side
        pixels, size = library_pixels(data, name, max_pixels, longest_side=enough)
        return Image.fromarray(pixels), size
    kind = "image"
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind = str(image.format)
            _require_pixels(image, data, name, max_pixels)
            size = image.size
            if longest_side is not None:
                image.draft(None, (2 * longest_side, 2 * longest_side))
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits of grey, which convert() would clip instead of scaling
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            upright.load()
            is_turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return upright, size[::-1] if is_turned else size
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(name, NOT_AN_IMAGE) from None
    except MemoryError:
        raise ImageError(name, "there is not enough memory to decode it") from None
    except Exception:  # whatever a decoder raises at bytes that it does not expect
        raise ImageError(name, f"a damaged or truncated {kind}") from None


def _require_pixels(image: Image.Image, data: bytes, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(name, f"{width}x{height} pixels are more than max_pixels={max_pixels}")
    # Each scan visits every pixel, and a scan of one colour takes a few bytes.
    if image.format == "JPEG" and data.count(b"\xff\xda") * width * height > _MOST_SCANS * max_pixels:
        raise ImageError(name, "a JPEG of so many scans that it would take minutes")
