"""What all pages share: one HTML file, written whole, with its style and pictures inside and every text escaped."""

from __future__ import annotations

import base64
import functools
import io
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jinja2
import numpy as np
from PIL import Image, ImageOps

from tfvlad.images import Box
from tfvlad.storage.atomic import atomic_file

THUMBNAILS_KEPT = 1024  # some 10 MB; a file that is shown again while its thumbnail is kept is not read again


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


def thumbnail(path: str, longest_side: int, box: Box | None = None) -> Thumbnail | None:
    """Makes a small copy of an image file, upright as its EXIF orientation says and on white where it is transparent.

    The copy holds pixels only: no EXIF data (places, owners), comment or colour profile of the file gets into the page.

    Args:
      path: the image file.
      longest_side: pixels; a smaller image keeps its size.
      box: (x1, y1, x2, y2) in pixels of the upright image; where it is given, only this part is shown.

    Returns:
      The thumbnail, or None where the file is gone or is not an image that can be read.
    """
    try:
        with Image.open(path) as image:
            if box is None:
                image.draft(None, (2 * longest_side, 2 * longest_side))  # JPEG: no need to decode every pixel
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("I", "I;16"):  # 16 bits of grey, which convert() would clip instead of scaling
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            upright = (upright if box is None else upright.crop(_rounded(box))).copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises on broken files
        return None
    return as_thumbnail(upright, longest_side)


def as_thumbnail(picture: Image.Image, longest_side: int) -> Thumbnail:
    """Makes a small copy of an upright picture, see `thumbnail`."""
    small = picture.convert("RGBA")
    small.thumbnail((longest_side, longest_side))
    opaque = Image.new("RGB", small.size, "white")
    opaque.paste(small, mask=small)
    jpeg = io.BytesIO()
    opaque.save(jpeg, "JPEG", quality=80)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode("ascii"), *opaque.size)


def write_page(
    path: str | os.PathLike[str], template: str, filters: Mapping[str, Callable[..., Any]], **content: object
) -> None:
    """Fills in a template of this package that extends ``page.html.j2``, and writes the page.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      template: the template's file name.
      filters: the filters that the template uses beside ``figure`` and ``file_name``; the function `thumbnail` is there
        too.
      content: ``title``, ``notes``, ``metrics`` and whatever else the template shows.

    Raises:
      OSError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfvlad.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=_figure, file_name=os.path.basename, **filters)
    environment.globals.update(thumbnail=functools.lru_cache(THUMBNAILS_KEPT)(thumbnail))
    page = environment.get_template(template).generate(**content)
    with atomic_file(path) as partial, open(partial, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(page)


def _figure(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _rounded(box: Box) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    return round(x1), round(y1), round(x2), round(y2)
