"""Decodes pictures with Pillow and its plug-ins, and with LibRaw: upright, in sRGB, on white, as RGB of 8 bits.

This runs in a process of its own, see `tfvlad.images._decoding_process`. Nothing is allocated for a picture before the
size in its header is known.
"""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import warnings
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, Image, ImageCms, UnidentifiedImageError

from tfvlad.images import _jpeg_xl
from tfvlad.images._boxes import boxed_profile
from tfvlad.images.formats import HEIC, JPEG, JPEG_XL, NOT_AN_IMAGE, RAW, TIFF, Format, recognise

Pixels: TypeAlias = npt.NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]

_ORIENTATION = 0x0112  # EXIF's tag
_MOST_SCANS = 100  # of a JPEG of max_pixels, as in `tfvlad.images._decoding`
_SEEN = 1.0  # levels of 255: a profile that changes colours by less, in the mean, changes nothing that is seen
_STEPS = (0, 32, 64, 96, 128, 160, 192, 224, 255)  # of each channel, at which colours are compared
# Of what a profile describes, the mode of pixels that it is for.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_THREADS = 4  # of a library; it would take one for each core, and memory for each
_FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's, and EXIF's


class UnreadableError(Exception):
    """A picture that is not decoded; the message is the reason."""


def decode(
    data: bytes, max_pixels: int, shortest_side: int | None = None, longest_side: int | None = None
) -> tuple[Pixels, Size]:
    """Decodes a picture, and makes a large one smaller by a whole number, in the mean of its pixels.

    Args:
      data: the file's bytes.
      max_pixels: a picture whose header announces more is refused.
      shortest_side: pixels; the shortest side is not made shorter than that. None leaves the picture in full size.
      longest_side: pixels, of the longest side, likewise; only one of the two is given.

    Returns:
      (H, W, 3) uint8 sRGB, upright; and the width and height before it was made smaller.

    Raises:
      UnreadableError: it is of another format, too large, or nothing that has a colour.
    """
    image, orientation = _open(data, max_pixels)
    size = image.size
    # Each scan visits every pixel, and a scan of one colour takes a few bytes.
    if image.format == "JPEG" and data.count(b"\xff\xda") * size[0] * size[1] > _MOST_SCANS * max_pixels:
        raise UnreadableError("a JPEG of so many scans that it would take minutes")
    profile = image.info.get("icc_profile") or boxed_profile(data)
    factor = _factor(size, shortest_side, longest_side)
    if factor > 1 and image.format == "JPEG":
        image.draft(None, (-(-size[0] // factor), -(-size[1] // factor)))
    image.load()
    plain = plain_mode(image)
    factor = _factor(plain.size, shortest_side, longest_side)
    if factor > 1:
        plain = plain.reduce(factor)
    pixels = np.asarray(_turned(_on_white(in_srgb(plain, profile)), orientation))
    return pixels, size if orientation < 5 else size[::-1]


def measure(data: bytes) -> Size:
    """Width and height of the upright picture, from its header."""
    if recognise(data) == JPEG_XL:
        return _jpeg_xl.upright_size(data)
    image, orientation = _open(data)
    return image.size if orientation < 5 else image.size[::-1]


def changes_colours(profile: bytes) -> bool:
    """Whether colours look different with this profile than they do as sRGB.

    Raises:
      UnreadableError: it is no profile that Little CMS can read.
    """
    mode = _mode_of(profile)
    if mode is None:
        raise UnreadableError("a damaged colour profile")
    if mode not in ("RGB", "L"):
        return True  # CMYK and Lab mean nothing without it
    steps = np.array(list(itertools.product(_STEPS, repeat=3)), np.uint8)[np.newaxis]
    colours = Image.fromarray(steps if mode == "RGB" else steps[..., 0])
    shown = np.asarray(_converted(colours, profile), np.float32)
    return float(np.abs(shown - np.asarray(colours.convert("RGB"))).mean()) >= _SEEN


def is_changing(profile: bytes) -> bool:
    """Like `changes_colours`; False for what is no profile."""
    try:
        return changes_colours(profile)
    except UnreadableError:
        return False


def name_of(data: bytes) -> str:
    """Names the format in messages."""
    form = recognise(data)
    return form.name if form else "image"


def _open(data: bytes, max_pixels: int | None = None) -> tuple[Image.Image, int]:
    """Opens a picture without decoding it, and gives the EXIF orientation that it still needs."""
    form = recognise(data)
    if form is None:
        raise UnreadableError(NOT_AN_IMAGE)
    if form == RAW:
        return _open_raw(data, max_pixels)
    if form == JPEG_XL:  # whose plug-in decodes when it opens
        _require(_jpeg_xl.upright_size(data), max_pixels)
    return _open_with_pillow(data, form, max_pixels)


def _open_with_pillow(data: bytes, form: Format, max_pixels: int | None) -> tuple[Image.Image, int]:
    _plug_in(form.module)
    AvifImagePlugin.DEFAULT_MAX_THREADS = _THREADS
    warnings.simplefilter("ignore")
    try:
        image = Image.open(io.BytesIO(data), formats=[form.pillow])
    except UnidentifiedImageError:
        raise UnreadableError(f"a damaged {form.name}, or one of a kind that its library cannot read") from None
    _require(image.size, max_pixels)  # of a PNG, to look for EXIF data is to decode it
    # libheif and libjxl turn pictures themselves, and so does Pillow when it loads a TIFF. But a JPEG inside of a
    # JPEG XL comes out as it was. Of an AVIF, Pillow makes EXIF of the boxes that turn it.
    is_upright = form in (HEIC, TIFF) or (form == JPEG_XL and not getattr(image, "jpeg", False))
    return image, 1 if is_upright else _exif_orientation(image)


def _open_raw(data: bytes, max_pixels: int | None) -> tuple[Image.Image, int]:
    """Opens the largest preview inside a camera's RAW file."""
    rawpy: Any = importlib.import_module("rawpy")
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            preview = raw.extract_thumb()
            flip = _FLIPS.get(raw.sizes.flip, 1)
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise UnreadableError("a RAW file without a preview that can be read") from None
    if preview.format == rawpy.ThumbFormat.BITMAP:
        return Image.fromarray(preview.data), flip
    image, orientation = _open_with_pillow(bytes(preview.data), JPEG, max_pixels)
    return image, orientation if _ORIENTATION in image.getexif() else flip


@functools.cache
def _plug_in(module: str) -> None:
    """Makes Pillow able to open what a module decodes."""
    if module:
        plugin: Any = importlib.import_module(module)
        if hasattr(plugin, "register_heif_opener"):
            plugin.register_heif_opener(decode_threads=_THREADS)
        else:
            plugin.JpegXLImagePlugin.DECODE_THREADS = _THREADS


def _exif_orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever Pillow raises at EXIF data that it does not expect
        return 1
    return orientation if orientation in range(1, 9) else 1


def _require(size: Size, max_pixels: int | None) -> None:
    width, height = size
    if min(size) < 1:
        raise UnreadableError(f"a damaged or truncated header of {width}x{height} pixels")
    if max_pixels is not None and width * height > max_pixels:
        raise UnreadableError(
            f"{width}x{height} pixels are more than max_pixels={max_pixels}; --max_pixels raises the limit"
        )


def _factor(size: Size, shortest_side: int | None, longest_side: int | None) -> int:
    """By what a picture is made smaller."""
    if shortest_side is not None:
        return max(min(size) // shortest_side, 1)
    return max(max(size) // longest_side, 1) if longest_side is not None else 1


def plain_mode(image: Image.Image) -> Image.Image:
    """Makes a picture of 8 bits, in one of the modes L, LA, RGB, RGBA, CMYK and LAB."""
    mode = image.mode
    if mode.startswith("I;16"):  # which convert() would clip instead of scaling
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if mode in ("I", "F"):
        raise UnreadableError("its pixels have 32 bits, which do not say what is white")
    if image.has_transparency_data:
        return image.convert("LA" if mode in ("L", "LA", "La") else "RGBA")
    if mode in ("L", "RGB", "CMYK", "LAB"):
        return image
    return image.convert("L" if mode == "1" else "RGB")


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts a picture, as `plain_mode` gives it, to RGB or RGBA, as a colour profile says."""
    has_alpha = image.mode in ("LA", "RGBA")
    colours = image.convert(image.mode.removesuffix("A")) if has_alpha else image
    mode = _mode_of(profile) if profile else None
    if mode == "RGB" and colours.mode == "L":
        colours = colours.convert("RGB")
    if profile and mode == colours.mode:
        colours = _converted(colours, profile)
    elif colours.mode == "LAB":
        colours = _to_srgb(colours, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if colours.mode != "RGB":
        colours = colours.convert("RGB")
    if has_alpha:
        colours.putalpha(image.getchannel("A"))
    return colours


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts a picture, whose mode is the profile's, to sRGB; leaves it as it is where Little CMS cannot."""
    try:
        return _to_srgb(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(profile, _srgb(), image.mode, "RGB", intent, flags).apply(image)


def _mode_of(profile: bytes) -> str | None:
    """The mode of pixels that a profile is for; None where it cannot be read, or is for others."""
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    except (OSError, ImageCms.PyCMSError, ValueError):
        return None
    return _MODES.get(space.strip())


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)
