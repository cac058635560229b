"""One picture in every format that is read, as other programs than a camera write it."""

from __future__ import annotations

import importlib.util
import io
from typing import Any, NamedTuple

import numpy as np
import pillow_heif
from helpers.raw_files import dng
from PIL import Image

from tfvlad.images import formats
from tfvlad.images._boxes import display_profile
from tfvlad.images.formats import Format

pillow_heif.register_heif_opener()
HAS_JXL = importlib.util.find_spec("pillow_jxl") is not None
HAS_RAW = importlib.util.find_spec("rawpy") is not None

WIDTH, HEIGHT = 96, 64
P3 = display_profile(12)


class Kind(NamedTuple):
    """A file, what it is, and how far its pixels may be from the picture's, in the mean."""

    data: bytes
    form: Format
    tolerance: float = 0.0


def picture() -> Image.Image:
    """Soft blots of many colours, wider than high."""
    blots = np.random.default_rng(3).integers(30, 225, (5, 7, 3), np.uint8)
    return Image.fromarray(blots).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """The bytes of a file of one of Pillow's kinds."""
    data = io.BytesIO()
    (image or picture()).save(data, kind, **options)
    return data.getvalue()


def turned_exif(orientation: int = 6) -> Image.Exif:
    """EXIF data that says how to turn a picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def sideways() -> Image.Image:
    """The picture as a camera stores it that was held upright: orientation 6 makes it upright."""
    return picture().transpose(Image.Transpose.ROTATE_90)


def in_profile(profile: bytes) -> Image.Image:
    """The picture's colours in the numbers of a profile; those that it lacks are cut off."""
    from PIL import ImageCms

    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(picture(), ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    return Image.fromarray(np.asarray(converted))


def _deep() -> bytes:
    """A TIFF of 16 bits a channel, which Pillow does not write: grey."""
    grey = np.asarray(picture().convert("L")).astype(np.uint16) * 257
    return saved("TIFF", Image.fromarray(grey))


def _kinds() -> dict[str, Kind]:
    exif = turned_exif()
    pages = [Image.new("RGB", (9, 9))]
    jpeg = saved("JPEG", sideways(), quality=95)
    wide = in_profile(P3)
    kinds = {
        "HEIC": Kind(saved("HEIF", quality=95), formats.HEIC, 4),
        "HEIC, turned": Kind(saved("HEIF", sideways(), quality=95, exif=exif.tobytes()), formats.HEIC, 4),
        "HEIC, Display P3": Kind(saved("HEIF", wide, quality=95, icc_profile=P3), formats.HEIC, 4),
        "AVIF": Kind(saved("AVIF", quality=95), formats.AVIF, 4),
        "AVIF, turned": Kind(saved("AVIF", sideways(), quality=95, exif=exif.tobytes()), formats.AVIF, 4),
        "AVIF, Display P3": Kind(saved("AVIF", wide, quality=95, icc_profile=P3), formats.AVIF, 4),
        "TIFF": Kind(saved("TIFF"), formats.TIFF),
        "TIFF, LZW": Kind(saved("TIFF", compression="tiff_lzw"), formats.TIFF),
        "TIFF, turned": Kind(saved("TIFF", sideways(), exif=exif), formats.TIFF),
        "TIFF, CMYK": Kind(saved("TIFF", picture().convert("CMYK")), formats.TIFF, 1),
        "TIFF, Lab": Kind(saved("TIFF", _lab()), formats.TIFF, 2),
        "TIFF, pages": Kind(saved("TIFF", save_all=True, append_images=pages), formats.TIFF),
        "TIFF, Display P3": Kind(saved("TIFF", wide, icc_profile=P3), formats.TIFF, 2),
        "JPEG 2000": Kind(saved("JPEG2000"), formats.JPEG_2000),
        "JPEG 2000, codestream": Kind(saved("JPEG2000", no_jp2=True), formats.JPEG_2000),
        "JPEG, Display P3": Kind(saved("JPEG", wide, quality=95, icc_profile=P3), formats.JPEG, 3),
        "JPEG, Display P3, turned": Kind(
            saved("JPEG", sideways_of(wide), quality=95, icc_profile=P3, exif=exif), formats.JPEG, 3
        ),
        "PNG, Display P3": Kind(saved("PNG", wide, icc_profile=P3), formats.PNG, 2),
        "WebP, Display P3": Kind(saved("WEBP", wide, lossless=True, icc_profile=P3), formats.WEBP, 2),
    }
    if HAS_JXL:
        import pillow_jxl  # noqa: F401

        kinds["JPEG XL"] = Kind(saved("JXL", lossless=True), formats.JPEG_XL)
        kinds["JPEG XL, boxes"] = Kind(saved("JXL", quality=95, use_container=True), formats.JPEG_XL, 3)
    if HAS_RAW:
        kinds["DNG"] = Kind(dng(saved("JPEG", quality=95)), formats.RAW, 3)
        kinds["DNG, turned"] = Kind(dng(jpeg, orientation=6), formats.RAW, 3)
    return kinds


def sideways_of(image: Image.Image) -> Image.Image:
    """Like `sideways`, of any picture."""
    return image.transpose(Image.Transpose.ROTATE_90)


def _lab() -> Image.Image:
    from PIL import ImageCms

    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(picture(), srgb, lab, outputMode="LAB")


KINDS = _kinds()
