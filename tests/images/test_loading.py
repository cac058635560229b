"""The one preprocessing, judged by Pillow: every format, every orientation, and bad input."""

from __future__ import annotations

import functools
import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tfvlad.errors import ImageError
from tfvlad.images.loading import ImageLoader, preprocess

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth, so that JPEG hardly changes it, and different in every corner, so that every turn shows."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green = x / WIDTH * 255, y / HEIGHT * 255
    return Image.fromarray(np.stack([red, green, 128 + 64 * np.sin(x / 9.0)], -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@functools.cache  # a loader's graph is traced once
def loader(size: int, resize: Any = "fit") -> ImageLoader:
    return ImageLoader(size, resize, "none")


def loaded(data: bytes, size: int = WIDTH, resize: str = "fit") -> np.ndarray:
    return np.asarray(loader(size, resize).load(data))


def by_pillow(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"), np.float32)


def with_alpha(picture: Image.Image) -> Image.Image:
    ramp = np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8)
    rgba = picture.convert("RGBA")
    rgba.putalpha(Image.fromarray(ramp))
    return rgba


FILES = {
    "jpeg": lambda p: encoded(p, "JPEG", quality=95),
    "jpeg progressive": lambda p: encoded(p, "JPEG", quality=95, progressive=True),
    "jpeg grey": lambda p: encoded(p.convert("L"), "JPEG", quality=95),
    "jpeg cmyk": lambda p: encoded(p.convert("CMYK"), "JPEG", quality=95),
    "png": lambda p: encoded(p, "PNG"),
    "png palette": lambda p: encoded(p.convert("P"), "PNG"),
    "png palette, transparent": lambda p: encoded(p.convert("P"), "PNG", transparency=3),
    "png grey": lambda p: encoded(p.convert("L"), "PNG"),
    "png grey with alpha": lambda p: encoded(with_alpha(p).convert("LA"), "PNG"),
    "png alpha": lambda p: encoded(with_alpha(p), "PNG"),
    "png 1 bit": lambda p: encoded(p.convert("1"), "PNG"),
    "gif": lambda p: encoded(p, "GIF"),
    "gif animated": lambda p: encoded(p, "GIF", save_all=True, append_images=[p.rotate(180)]),
    "bmp": lambda p: encoded(p, "BMP"),
    "bmp palette": lambda p: encoded(p.convert("P"), "BMP"),
    "bmp grey": lambda p: encoded(p.convert("L"), "BMP"),
    "bmp alpha": lambda p: encoded(with_alpha(p), "BMP"),
    "webp": lambda p: encoded(p, "WEBP", quality=95),
    "webp lossless alpha": lambda p: encoded(with_alpha(p), "WEBP", lossless=True),
    "webp lossy alpha": lambda p: encoded(with_alpha(p), "WEBP", quality=95),
    "webp animated": lambda p: encoded(p, "WEBP", save_all=True, append_images=[p.rotate(180)], lossless=True),
    "webp animated, lossy alpha": lambda p: encoded(
        with_alpha(p), "WEBP", save_all=True, append_images=[with_alpha(p).rotate(180)], quality=95
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_format_looks_as_pillow_sees_it(picture: Image.Image, kind: str) -> None:
    data = FILES[kind](picture)
    image = loaded(data)
    assert image.dtype == np.float32
    # Two decoders differ by the rounding of the inverse DCT and of colour conversion, not by more.
    lossy = ("jpeg" in kind) or ("webp" in kind and "lossy" in kind)
    np.testing.assert_allclose(image, by_pillow(data), atol=12 if lossy else 1.01)
    assert np.abs(image - by_pillow(data)).mean() < 2.5


def test_png_of_16_bits_keeps_the_high_byte() -> None:
    # 0xABCD / 65535 * 255 = 171.2, and the high byte is 0xAB = 171.
    data = encoded(Image.fromarray(np.full((8, 8), 0xABCD, np.uint16)), "PNG")
    np.testing.assert_array_equal(loaded(data, 8), np.full((8, 8, 3), 0xAB))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(picture: Image.Image, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera maker"
    exif[0x0112] = orientation
    data = encoded(picture, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    image = loaded(data)
    assert image.shape == by_pillow(data).shape
    np.testing.assert_allclose(image, by_pillow(data), atol=12 if kind == "JPEG" else 1.01)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_either_byte_order_behind_other_segments(picture: Image.Image, order: str) -> None:
    tiff = struct.pack(order + "2sHIHHHIHHI", b"II" if order == "<" else b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    icc = b"\xff\xe2" + struct.pack(">H", 2 + 500) + b"\x01" * 500
    data = encoded(picture, "JPEG", quality=95)
    assert loaded(data[:2] + icc + exif + data[2:]).shape == (WIDTH, HEIGHT, 3)


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff",
        struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 77, 0, 0),
        struct.pack("<2sHIHHHIHHI", b"XX", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0),
    ],
)
def test_exif_that_lies_leaves_the_image_as_it_is(picture: Image.Image, tiff: bytes) -> None:
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    data = encoded(picture, "JPEG", quality=95)
    np.testing.assert_array_equal(loaded(data[:2] + exif + data[2:]), loaded(data))


def test_stretch_squashes_and_fit_keeps_the_aspect_ratio(picture: Image.Image) -> None:
    data = encoded(picture, "PNG")
    assert loaded(data, 48, resize="stretch").shape == (48, 48, 3)
    assert loaded(data, 48, resize="fit").shape == (32, 48, 3)  # 64 * 48 / 96 = 32
    assert loaded(data, 200, resize="fit").shape == (133, 200, 3)  # 64 * 200 / 96 = 133.3


def test_a_fine_pattern_is_averaged_when_made_smaller() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    inner = loaded(encoded(Image.fromarray(stripes), "PNG"), 16, resize="stretch")[2:-2, 2:-2]
    np.testing.assert_allclose(inner, 100, atol=1)


@pytest.mark.parametrize("resize", ["stretch", "fit"])
def test_a_large_jpeg_is_decoded_small_and_looks_the_same(picture: Image.Image, resize: str) -> None:
    large = encoded(picture.resize((1600, 1066), Image.Resampling.BICUBIC), "JPEG", quality=95)
    png = encoded(Image.open(io.BytesIO(large)), "PNG")
    for size in (64, 100, 300):
        np.testing.assert_allclose(
            loaded(large, size, resize=resize), loaded(png, size, resize=resize), atol=6, err_msg=str(size)
        )


def test_pixels_and_the_same_pixels_in_a_file_agree(picture: Image.Image) -> None:
    load = ImageLoader(40, "stretch", "caffe").load
    np.testing.assert_array_equal(load(np.asarray(picture)), load(encoded(picture, "PNG")))
    grey = np.asarray(picture.convert("L"))
    np.testing.assert_array_equal(load(grey), load(np.stack([grey] * 3, -1)))
    rgba = with_alpha(picture)
    np.testing.assert_array_equal(load(np.asarray(rgba)), load(encoded(rgba, "PNG")))


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocessing_is_that_of_keras(mode: str) -> None:
    from keras.src.applications.imagenet_utils import preprocess_input

    image = np.random.default_rng(0).uniform(0, 255, (5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(preprocess(image, mode), preprocess_input(image.copy(), mode=mode), atol=1e-5)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (b"hello", "not an image in a known format"),
        (b"\xff\xd8\xff", "a damaged or truncated JPEG"),
        (b"\x89PNG\r\n\x1a\n", "a damaged or truncated header of 0x0 pixels"),
        (b"GIF89a", "a damaged or truncated GIF"),
        (b"RIFF\0\0\0\0WEBP", "a damaged or truncated header of 0x0 pixels"),
        (b"BM", "only uncompressed BMPs of 8, 24 or 32 bits can be read"),
    ],
)
def test_what_is_no_picture_gets_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        loaded(data)
    assert str(caught.value) == f"<bytes>: {reason}"


def test_a_truncated_file_and_a_missing_one_are_named(picture: Image.Image, tmp_path: Any) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(picture, "JPEG")[:-100])
    with pytest.raises(ImageError, match=r"cut\.jpg: a damaged or truncated JPEG"):
        loader(32).load(path)
    with pytest.raises(ImageError, match=r"nowhere\.jpg: No such file"):
        loader(32).load(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize("shape", [(4, 4, 2), (4,), (0, 4, 3), (1, 4, 4, 3)])
def test_arrays_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"<array>: pixels must be \(H, W, 3\)"):
        loader(32).load(np.zeros(shape, np.uint8))


def test_arrays_of_floats_are_refused() -> None:
    with pytest.raises(ImageError, match="uint8, got float32"):
        loader(32).load(np.zeros((4, 4, 3), np.float32))  # type: ignore[arg-type]
