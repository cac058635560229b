"""What an image may be given as: a path, an image file's bytes, pixels, or a PIL image."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image

Source: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
ImageLike: TypeAlias = "Source | Image.Image"  # what callers may give

_ACCEPTED = "an image is a path, the bytes of an image file, a uint8 array or a PIL image"


def as_sources(sources: ImageLike | Iterable[ImageLike]) -> list[Source] | Iterator[Source]:
    """Returns the images of an argument that may be one image or several; PIL images become arrays.

    Args:
      sources: an image; a sequence of images, which becomes a list; or another iterable, which stays lazy.

    Raises:
      ConfigError: something is not an image; of a lazy one when it comes to that.
    """
    if _is_image(sources):
        return [_plain(sources)]
    if not isinstance(sources, Iterable) or isinstance(sources, dict):
        raise ConfigError(f"{_ACCEPTED}, or several of these; got {type(sources).__name__}")
    if isinstance(sources, list | tuple) or hasattr(sources, "__len__"):
        return [_plain(source) for source in sources]
    return map(_plain, sources)


def source_name(source: Source) -> str:
    """Names an image in messages: its path, ``<bytes>`` or ``<array>``."""
    if isinstance(source, np.ndarray):
        return "<array>"
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    return "<bytes>"


def _is_image(source: Any) -> bool:
    is_array = isinstance(source, np.ndarray) and source.ndim <= 3
    return is_array or isinstance(source, str | bytes | os.PathLike) or _is_pil(source)


def _is_pil(source: Any) -> bool:
    pil = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    return pil is not None and isinstance(source, pil.Image)


def _plain(source: Any) -> Source:
    if _is_pil(source):
        return _pixels(source)
    if not isinstance(source, str | bytes | os.PathLike | np.ndarray):
        raise ConfigError(f"{_ACCEPTED}; got {type(source).__name__}")
    return source


def _pixels(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The upright pixels of a PIL image in sRGB: (H, W, 3), or (H, W, 4) where it has transparency."""
    from PIL import Image, ImageOps

    from tfvlad.images._library_decoding import in_srgb, is_changing, plain_mode

    upright = ImageOps.exif_transpose(picture)
    profile = picture.info.get("icc_profile")
    if profile and is_changing(profile):
        return np.asarray(in_srgb(plain_mode(upright), profile))
    if upright.mode.startswith("I"):  # 16 bits of grey, which convert() would clip instead of scaling
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
