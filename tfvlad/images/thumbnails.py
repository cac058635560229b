"""Small copies of images, as pages and notebooks show them: JPEGs within the HTML, of pixels and nothing else."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

from PIL import Image

from tfvlad.errors import ImageError
from tfvlad.images import Box
from tfvlad.images.files import read_file
from tfvlad.images.pictures import open_picture


class Thumbnail(NamedTuple):
    """A small copy of an image, ready for an ``<img>``.

    Attributes:
      address: the JPEG as a ``data:`` URI.
      width: pixels.
      height: pixels.
    """

    address: str
    width: int
    height: int


def thumbnail(path: str, longest_side: int, box: Box | None = None) -> Thumbnail:
    """Makes a small copy of an image file, upright as its EXIF orientation says and on white where it is transparent.

    The copy holds pixels only: no EXIF data (places, owners), comment or colour profile of the file gets into the page.

    Args:
      path: the image file.
      longest_side: pixels; a smaller image keeps its size.
      box: (x1, y1, x2, y2) in pixels of the upright image; where it is given, only this part is shown.

    Raises:
      ImageError: the file is gone, or is not an image that can be read.
    """
    upright = open_picture(read_file(path), path, longest_side=longest_side if box is None else None)
    return as_thumbnail(upright if box is None else _cut(upright, box, path), longest_side)


def as_thumbnail(picture: Image.Image, longest_side: int) -> Thumbnail:
    """Makes a small copy of an upright picture, see `thumbnail`."""
    small = picture.convert("RGBA")
    small.thumbnail((longest_side, longest_side))
    opaque = Image.new("RGB", small.size, "white")
    opaque.paste(small, mask=small)
    jpeg = io.BytesIO()
    opaque.save(jpeg, "JPEG", quality=80)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii"), *opaque.size)


def _cut(picture: Image.Image, box: Box, name: str) -> Image.Image:
    x1, y1, x2, y2 = (round(side) for side in box)
    inside = max(x1, 0), max(y1, 0), min(x2, picture.width), min(y2, picture.height)
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise ImageError(name, f"the box {x1},{y1} to {x2},{y2} is not inside of it")
    return picture.crop(inside)
