"""Pictures are moved by transforms that are known, and laid on each other again; other pictures do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from tfvlad.matching.registration import register

IDENTITY = np.eye(3)


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Smooth noise of two coarsenesses, as a grey picture."""
    generator = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(generator.integers(0, 256, shape, np.uint8)).resize(size, Image.Resampling.BICUBIC), float
        )
        for shape in ((12, 16), (40, 54))
    ]
    return Image.fromarray((layers[0] * 0.6 + layers[1] * 0.4).astype(np.uint8))


def box_transform(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    """From fractions of the whole to fractions of a box in it."""
    width, height = right - left, bottom - top
    return np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]])


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_smaller_copy(scale: int) -> None:
    picture = scene(1)
    found = register(picture, picture.resize((160 // scale, 120 // scale), Image.Resampling.BICUBIC), IDENTITY)
    assert found is not None
    assert found.is_same_picture
    assert found.agreement > 0.95
    np.testing.assert_allclose(found.transform, IDENTITY, atol=0.01)


def test_a_crop_is_found_from_a_guess_that_is_off_and_its_place_is_told() -> None:
    picture = scene(2, (320, 240))
    crop = picture.crop((64, 48, 256, 192))
    guess = box_transform(0.22, 0.18, 0.81, 0.79)
    found = register(picture.resize((160, 120), Image.Resampling.BICUBIC), crop, guess)
    assert found is not None
    assert found.is_same_picture
    np.testing.assert_allclose(found.transform, box_transform(0.2, 0.2, 0.8, 0.8), atol=0.01)
    assert found.shared == pytest.approx((0.36, 1.0), abs=0.02)
    back = found.inverse()
    np.testing.assert_allclose(back.transform @ found.transform, IDENTITY, atol=1e-9)
    assert (back.shared, back.is_same_picture) == (found.shared[::-1], True)


@pytest.mark.parametrize("degrees", [3, -7, 90, 180])
def test_a_turned_copy(degrees: int) -> None:
    picture = scene(3)
    turned = picture.rotate(degrees, Image.Resampling.BICUBIC, expand=degrees % 90 == 0)
    angle = np.deg2rad(degrees // 90 * 90 if degrees % 90 == 0 else 0)
    linear = np.round([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    guess = np.eye(3)
    guess[:2] = np.column_stack([linear, 0.5 - linear @ [0.5, 0.5]])
    found = register(picture, turned, guess)
    assert found is not None
    assert found.is_same_picture
    assert abs((found.pose.turn + degrees + 180) % 360 - 180) < 0.3  # Pillow turns counter-clockwise


@pytest.mark.parametrize("change", ["brighter", "blurred", "marked", "bordered"])
def test_a_changed_copy(change: str) -> None:
    picture = scene(4)
    guess = IDENTITY
    if change == "brighter":
        changed = ImageEnhance.Brightness(picture).enhance(1.2)
    elif change == "blurred":
        changed = picture.filter(ImageFilter.GaussianBlur(0.7))
    elif change == "marked":
        changed = picture.copy()
        changed.paste(255, (100, 100, 150, 110))
    else:
        changed = ImageOps.expand(picture, 6, 255)
        guess = box_transform(-6 / 160, -6 / 120, 1 + 6 / 160, 1 + 6 / 120)
    found = register(picture, changed, guess)
    assert found is not None
    assert found.is_same_picture


def test_other_pictures_do_not_fit() -> None:
    for seed in range(5, 15):
        found = register(scene(seed), scene(seed + 100), IDENTITY)
        assert found is None or not found.is_same_picture
    mirrored = register(scene(5), ImageOps.mirror(scene(5)), IDENTITY)
    assert mirrored is None or not mirrored.is_same_picture


def test_two_photographs_of_one_scene_are_not_one_picture() -> None:
    """Near things move before far ones, and each photograph shows something that the other one does not."""
    far, near = scene(20, (400, 300)), scene(21, (400, 300))
    mask = Image.fromarray((np.hypot(*(np.indices((300, 400)) - [[[150]], [[200]]])) < 60).astype(np.uint8) * 255)

    def photograph(pan: int, step: int) -> Image.Image:
        view = far.copy()
        view.paste(near, (step, 0), mask)
        return view.crop((40 + pan, 30, 360 + pan, 270)).resize((160, 120), Image.Resampling.BICUBIC)

    parallax = register(photograph(0, 0), photograph(0, 24), IDENTITY)
    assert parallax is not None
    assert not parallax.is_same_picture
    guess = IDENTITY.copy()
    guess[0, 2] = -32 / 320
    panned = register(photograph(0, 0), photograph(32, 0), guess)
    assert panned is not None
    assert panned.agreement > 0.9  # the pixels fit, but neither picture lies in the other
    assert not panned.is_same_picture


def test_a_stretched_picture_is_another_one() -> None:
    picture = scene(6)
    found = register(picture, picture.resize((160, 96)).crop((0, 0, 160, 96)), IDENTITY)
    assert found is not None
    assert not found.is_same_picture


@pytest.mark.parametrize("size", [(1, 1), (11, 200), (160, 120)])
def test_nothing_is_said_of_pictures_without_structure(size: tuple[int, int]) -> None:
    flat = Image.new("L", size, 80)
    found = register(flat, flat, IDENTITY)
    assert found is None or not found.is_same_picture


def test_a_guess_that_leads_nowhere() -> None:
    for guess in (np.diag([1e6, 1e6, 1.0]), np.diag([0.0, 0.0, 1.0]), np.array([[1, 0, 5.0], [0, 1, 5.0], [0, 0, 1]])):
        assert register(scene(7), scene(7), guess) is None
