"""Small pictures inside a page: an image file as a ``data:`` address."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from tfvlad.evaluation.datasets import Box


class Thumbnail(NamedTuple):
    """A reduced image, ready for an ``<img>``.

    Attributes:
      address: a JPEG as ``data:`` URI.
      width: pixels.
      height: pixels.
    """

    address: str
    width: int
    height: int


def thumbnail(path: str, longest_side: int, box: Box | None = None) -> Thumbnail | None:
    """Reduces an image file, turned upright as its EXIF orientation says, transparency on white.

    The JPEG holds pixels only: no EXIF (places, owners), comment or colour profile of the file gets into the page.

    Args:
      path: the file.
      longest_side: pixels; a smaller image is left as large as it is.
      box: (x1, y1, x2, y2) in pixels of the upright image, to show only this part of it.

    Returns:
      The thumbnail, or None where there is no such file any more or it is no image that can be read.
    """
    try:
        with Image.open(path) as image:
            if box is None:
                image.draft(None, (2 * longest_side, 2 * longest_side))  # JPEG: no need to decode every pixel
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("I", "I;16"):  # sixteen bits of grey, which convert() would clip instead of scale
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            upright = (upright if box is None else upright.crop(_rounded(box))).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises on broken files
        return None
    upright.thumbnail((longest_side, longest_side))
    opaque = Image.new("RGB", upright.size, "white")
    opaque.paste(upright, mask=upright)
    jpeg = io.BytesIO()
    opaque.save(jpeg, "JPEG", quality=80)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii"), *opaque.size)


def _rounded(box: Box) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    return round(x1), round(y1), round(x2), round(y2)
