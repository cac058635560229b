"""Files that libraries decode: the right pixels, upright, in sRGB; and one reason for each that cannot be decoded."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.many_formats import HAS_JXL, HEIGHT, KINDS, P3, WIDTH, in_profile, picture, saved, sideways
from helpers.raw_files import dng
from PIL import Image, ImageCms

from tfvlad.errors import ImageError
from tfvlad.images import _boxes, _jpeg_xl, _profiles
from tfvlad.images.crops import read_crop, read_upright, upright_size
from tfvlad.images.formats import JPEG, PNG, WEBP
from tfvlad.images.libraries import library_format, library_pixels, library_size, sides_for
from tfvlad.images.loading import ImageLoader
from tfvlad.images.pictures import open_picture, open_sized
from tfvlad.images.sources import as_sources

MOST = 10_000_000
EXPECTED = np.asarray(picture(), np.float32)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def reason(data: bytes, max_pixels: int = MOST) -> str:
    with pytest.raises(ImageError) as caught:
        library_pixels(data, "it", max_pixels)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_pixels(kind: str) -> None:
    data, form, tolerance = KINDS[kind]
    assert library_format(data, kind) is form
    pixels, size = library_pixels(data, kind, MOST)
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert size == library_size(data, kind) == (WIDTH, HEIGHT)
    assert np.abs(pixels - EXPECTED).mean() <= tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_all_readers_see_the_same(kind: str, tmp_path: Path) -> None:
    data = KINDS[kind].data
    pixels, _ = library_pixels(data, kind, MOST)
    np.testing.assert_array_equal(read_upright(data, MOST), pixels)
    np.testing.assert_array_equal(np.asarray(open_picture(data, kind)), pixels)
    assert open_sized(data, kind)[1] == upright_size(data) == (WIDTH, HEIGHT)
    loader = ImageLoader(32, "fit", "none")
    np.testing.assert_array_equal(loader.load(data), loader.load(pixels))
    path = tmp_path / "misleading.jpg"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_crop(str(path), (8, 4, 40, 30), MOST), pixels[4:30, 8:40])


def test_deep_pixels() -> None:
    grey = np.asarray(picture().convert("L"))
    tiff = saved("TIFF", Image.fromarray(grey.astype(np.uint16) * 257))
    pixels, _ = library_pixels(tiff, "deep", MOST)
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))
    floats = Image.fromarray(grey.astype(np.float32))
    assert reason(saved("TIFF", floats)) == "its pixels have 32 bits, which do not say what is white"


def test_transparent_pixels_are_on_white() -> None:
    clear = picture().convert("RGBA")
    clear.putalpha(0)
    for kind, options in (("TIFF", {}), ("AVIF", {}), ("JPEG2000", {}), ("PNG", {"icc_profile": P3})):
        assert library_pixels(saved(kind, clear, **options), kind, MOST)[0].min() >= 254
    assert library_pixels(saved("HEIF", clear), "HEIF", MOST)[0].min() >= 254


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "JPEG2000"])
def test_large_pictures_are_made_smaller_by_a_whole_number(kind: str) -> None:
    large = picture().resize((10 * WIDTH, 10 * HEIGHT))
    options = {} if kind == "JPEG2000" else {"icc_profile": P3}
    data = saved(kind, large, **options)
    pixels, size = library_pixels(data, kind, MOST, shortest_side=200)
    # By three; a JPEG by two, while it is decoded.
    assert (pixels.shape, size) == ((320, 480, 3) if kind == "JPEG" else (214, 320, 3), (960, 640))
    pixels, size = library_pixels(data, kind, MOST, longest_side=200)
    assert (pixels.shape, size) == ((160, 240, 3), (960, 640))  # by four
    assert library_pixels(data, kind, MOST, shortest_side=sides_for(256))[0].shape == (640, 960, 3)
    assert open_picture(data, kind, longest_side=100).size == (240, 160)


def test_profiles_are_found_where_they_change_what_is_seen() -> None:
    for kind, form, options in (("JPEG", JPEG, {}), ("PNG", PNG, {}), ("WEBP", WEBP, {"lossless": True})):
        for profile, expected in ((None, None), (SRGB, None), (b"nonsense", None), (P3, P3)):
            data = saved(kind, icc_profile=profile, **options)
            assert _profiles.changing_profile(data, form, kind) == expected, kind
            assert (library_format(data, kind) is None) == (expected is None)
    long = P3 + bytes(150_000)  # several segments of a JPEG
    assert _profiles._in_jpeg(saved("JPEG", icc_profile=long)) == long


def test_damaged_places_of_profiles() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    chunk = b"iCCPbomb\0\0" + bomb
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(chunk) - 4) + chunk + bytes(4)
    assert len(_profiles._in_png(png) or b"") == _profiles._LARGEST
    for data in (b"\xff\xd8\xff", b"\xff\xd8\xff\xe2\0\0" + bytes(9), b"\xff\xd8\xff\xe2\xff\xffICC_PROFILE\0\1"):
        _profiles._in_jpeg(data)
    assert not _profiles._in_png(b"\x89PNG\r\n\x1a\n\0\0\0\5iCCPab\0\0x")
    assert _profiles._in_webp(b"RIFF\0\0\0\0WEBPICCP\xff\xff\xff\xff") is None


def test_profiles_by_number() -> None:
    wide = saved("AVIF", in_profile(P3), quality=95)
    at = wide.index(b"colrnclx") + 8
    tagged = wide[:at] + struct.pack(">HH", 12, 13) + wide[at + 4 :]
    assert np.abs(library_pixels(tagged, "it", MOST)[0] - EXPECTED).mean() < 3
    assert np.abs(library_pixels(wide, "it", MOST)[0] - EXPECTED).mean() > 4
    for primaries, transfer in ((1, 13), (9, 16), (12, 18), (99, 13)):  # sRGB, HDR, and nonsense are left alone
        assert _boxes.boxed_profile(wide[:at] + struct.pack(">HH", primaries, transfer) + wide[at + 4 :]) is None


def test_other_profiles_than_the_pixels_are_ignored() -> None:
    cmyk = saved("TIFF", picture().convert("CMYK"), icc_profile=P3)
    assert np.abs(library_pixels(cmyk, "it", MOST)[0] - EXPECTED).mean() < 1
    nonsense = saved("TIFF", icc_profile=b"nonsense" * 20)
    np.testing.assert_array_equal(library_pixels(nonsense, "it", MOST)[0], EXPECTED)


def test_a_pil_image_is_taken_in_srgb() -> None:
    with Image.open(io.BytesIO(KINDS["PNG, Display P3"].data)) as image:
        (pixels,) = as_sources(image)
    assert np.abs(pixels - EXPECTED).mean() < 2
    with Image.open(io.BytesIO(saved("PNG", in_profile(P3)))) as image:
        (unlike,) = as_sources(image)
    assert np.abs(unlike - EXPECTED).mean() > 4


@pytest.mark.parametrize("kind", KINDS)
def test_limits_come_from_the_header(kind: str) -> None:
    assert "96x64 pixels are more than max_pixels=6143" in reason(KINDS[kind].data, 6143).replace("64x96", "96x64")


def test_huge_headers() -> None:
    tiff = saved("TIFF")
    for tag in (256, 257):  # width and height, as numbers of two bytes
        at = tiff.index(struct.pack("<HHI", tag, 4, 1)) + 8
        tiff = tiff[:at] + struct.pack("<I", 100_000) + tiff[at + 4 :]
    jp2 = saved("JPEG2000")
    at = jp2.index(b"ihdr") + 4
    jp2 = jp2[:at] + struct.pack(">II", 100_000, 100_000) + jp2[at + 8 :]
    for data in (tiff, jp2):
        assert reason(data).startswith("100000x100000 pixels are more than max_pixels")
    png = saved("PNG", icc_profile=P3)
    png = png[:16] + struct.pack(">II", 100_000, 100_000) + png[24:29] + struct.pack(">I", 0) + png[33:]
    ihdr = png[12:29]
    png = png[:29] + struct.pack(">I", zlib.crc32(ihdr)) + png[33:]
    assert reason(png).startswith("100000x100000 pixels are more than max_pixels")
    heic = saved("HEIF")
    at = heic.index(b"ispe") + 8
    assert reason(heic[:at] + struct.pack(">II", 100_000, 100_000) + heic[at + 8 :])


@pytest.mark.skipif(not HAS_JXL, reason="needs pillow-jxl-plugin")
def test_the_size_of_a_jpeg_xl() -> None:
    for width, height in ((96, 64), (64, 64), (640, 480), (1023, 7), (1, 1), (300, 200), (256, 256)):
        assert _jpeg_xl.upright_size(saved("JXL", Image.new("RGB", (width, height)))) == (width, height)
    large = b"\xff\x0a" + (0 | 3 << 1 | (99_999 << 3) | 0 << 33 | 3 << 36 | 99_999 << 38).to_bytes(10, "little")
    assert _jpeg_xl.upright_size(large) == (100_000, 100_000)
    assert reason(large).startswith("100000x100000 pixels are more than max_pixels")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_have_one_kind_of_end(kind: str) -> None:
    whole = np.frombuffer(KINDS[kind].data, np.uint8)
    generator = np.random.default_rng(1)
    for number in range(20):
        damaged = whole[: generator.integers(1, len(whole) + 1) if number % 2 else None].copy()
        at = generator.integers(0, len(damaged), generator.integers(1, 9))
        damaged[at] = generator.integers(0, 256, len(at))
        for read in (library_pixels, open_picture):
            with contextlib.suppress(ImageError):
                read(damaged.tobytes(), "it", MOST)
    assert reason(KINDS[kind].data[:40]).startswith(("a damaged", "not an image"))


def test_raw_files_without_a_preview() -> None:
    pytest.importorskip("rawpy")
    assert reason(dng(b"")) == "a RAW file without a preview that can be read"
    garbage = dng(saved("JPEG"))[:200]
    assert reason(garbage).startswith("a damaged or truncated RAW")


def test_a_jpeg_whose_exif_turns_it_in_the_graph_as_by_the_library() -> None:
    from helpers.many_formats import turned_exif

    plain, wide = (
        saved("JPEG", sideways(), quality=95, exif=turned_exif(), **options) for options in ({}, {"icc_profile": P3})
    )
    assert read_upright(plain, MOST).shape == read_upright(wide, MOST).shape == (HEIGHT, WIDTH, 3)
