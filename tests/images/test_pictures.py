"""Pictures as Pillow decodes them: what is meant is decoded, and nothing else that Pillow knows."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from tfvlad.errors import ImageError
from tfvlad.images.pictures import FORMATS, open_picture

GENERATOR = np.random.default_rng(0)
PICTURE = Image.fromarray(GENERATOR.integers(0, 256, (30, 40, 3), np.uint8))


def encoded(kind: str, picture: Image.Image = PICTURE, **settings: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **settings)
    return data.getvalue()


def reason(data: bytes, **settings: int) -> str:
    with pytest.raises(ImageError) as caught:
        open_picture(data, "it", **settings)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_that_are_meant(kind: str) -> None:
    assert open_picture(encoded(kind), "it").size == (40, 30)


@pytest.mark.parametrize("kind", ["DDS", "SPIDER", "BLP", "TGA", "PCX", "ICO", "SGI", "PPM"])
def test_what_else_pillow_knows_is_refused(kind: str) -> None:
    picture = PICTURE.convert("F") if kind == "SPIDER" else PICTURE.convert("P") if kind == "BLP" else PICTURE
    assert reason(encoded(kind, picture)).startswith("not an image")


def test_an_upright_picture() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    assert open_picture(encoded("JPEG", exif=turned), "it").size == (30, 40)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    large = encoded("JPEG", PICTURE.resize((1600, 1200)))
    assert open_picture(large, "it").size == (1600, 1200)
    assert open_picture(large, "it", longest_side=100).size == (400, 300)


def test_limits() -> None:
    assert reason(b"") == "an empty file"
    assert reason(encoded("PNG"), max_pixels=1199) == "40x30 pixels are more than max_pixels=1199"
    assert open_picture(encoded("PNG"), "it", max_pixels=1200).size == (40, 30)
    progressive = encoded("JPEG", progressive=True)
    scan = progressive.index(b"\xff\xda")
    many = progressive[:scan] + progressive[scan:-2] * 2000
    assert "so many scans" in reason(many, max_pixels=10_000)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_have_one_kind_of_end(kind: str) -> None:
    whole = np.frombuffer(encoded(kind), np.uint8)
    generator = np.random.default_rng(1)
    reasons = set()
    for number in range(150):
        damaged = whole[: generator.integers(1, len(whole) + 1) if number % 2 else None].copy()
        at = generator.integers(0, len(damaged), generator.integers(1, 9))
        damaged[at] = generator.integers(0, 256, len(at))
        with contextlib.suppress(ImageError):
            open_picture(damaged.tobytes(), "it", max_pixels=10_000_000)
            continue
        reasons.add(reason(damaged.tobytes(), max_pixels=10_000_000))
    assert any(f"a damaged or truncated {kind}" in one or "not an image" in one for one in reasons)
