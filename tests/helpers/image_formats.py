"""One picture in the file formats in which photographs come."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Picture = Image.Image


def _saved(picture: Picture, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _turned(picture: Picture) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    return _saved(picture, "JPEG", quality=90, exif=exif)


def _with_alpha(picture: Picture) -> bytes:
    transparent = picture.convert("RGBA")
    ramp = np.linspace(0, 255, picture.width * picture.height).reshape(picture.height, picture.width)
    transparent.putalpha(Image.fromarray(ramp.astype(np.uint8)))
    return _saved(transparent, "PNG")


def _large(picture: Picture) -> bytes:
    """Five times as large, which is decoded at a fraction of its size."""
    return _saved(picture.resize((5 * picture.width, 5 * picture.height)), "JPEG", quality=85)


KINDS: dict[str, Callable[[Picture], bytes]] = {
    "jpeg": lambda picture: _saved(picture, "JPEG", quality=90),
    "jpeg, EXIF-rotated": _turned,
    "jpeg, grey": lambda picture: _saved(picture.convert("L"), "JPEG", quality=90),
    "jpeg, CMYK": lambda picture: _saved(picture.convert("CMYK"), "JPEG", quality=90),
    "jpeg, progressive": lambda picture: _saved(picture, "JPEG", quality=90, progressive=True),
    "jpeg, large": _large,
    "png": lambda picture: _saved(picture, "PNG"),
    "png, alpha": _with_alpha,
    "webp": lambda picture: _saved(picture, "WEBP", quality=90),
}
