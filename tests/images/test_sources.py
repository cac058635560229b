from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfvlad.errors import ConfigError
from tfvlad.images.sources import as_sources, source_name

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize("one", ["a.jpg", Path("a.jpg"), b"bytes", PIXELS])
def test_one_and_several(one: Any) -> None:
    assert next(iter(as_sources(one))) is one
    assert all(found is one for found in as_sources([one, one]))
    assert next(iter(as_sources(iter([one])))) is one
    assert list(as_sources([])) == []


def test_a_stack_of_images_is_several() -> None:
    assert np.array_equal(list(as_sources(np.stack([PIXELS, PIXELS])))[1], PIXELS)


def test_pil_images_become_upright_pixels() -> None:
    (found,) = as_sources(Image.fromarray(PIXELS))
    assert np.array_equal(found, PIXELS)  # type: ignore[arg-type]
    turned = Image.fromarray(PIXELS)
    turned.getexif()[0x0112] = 6  # to be turned by 90 degrees clockwise
    (found,) = as_sources([turned])
    assert np.array_equal(found, np.rot90(PIXELS, -1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (2, 3, 3)), ("CMYK", (2, 3, 3)), ("RGBA", (2, 3, 4)), ("LA", (2, 3, 4)), ("1", (2, 3, 3))]
)
def test_pil_modes(mode: str, shape: tuple[int, ...]) -> None:
    (found,) = as_sources(Image.fromarray(PIXELS).convert(mode))
    assert isinstance(found, np.ndarray)
    assert found.shape == shape
    assert found.dtype == np.uint8


def test_16_bits_of_grey_are_scaled() -> None:
    grey = np.array([[0, 0x8000], [0xFF00, 0xFFFF]], np.uint16)
    (found,) = as_sources(Image.fromarray(grey))
    assert np.array_equal(found[..., 0], [[0, 128], [255, 255]])  # type: ignore[index, call-overload]


@pytest.mark.parametrize("nonsense", [12, 1.5, None, {"a": 1}, [12], [None], [["a.jpg"]], iter([3])])
def test_anything_else_is_named(nonsense: Any) -> None:
    with pytest.raises(
        ConfigError, match="an image is a path, the bytes of an image file, a uint8 array or a PIL image"
    ):
        list(as_sources(nonsense))


def test_names() -> None:
    assert [source_name(source) for source in ("a.jpg", Path("b.jpg"), b"", PIXELS)] == [
        "a.jpg", "b.jpg", "<bytes>", "<array>",
    ]  # fmt: skip
