from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfvlad.errors import ImageError
from tfvlad.images.crops import read_crop

MAX_PIXELS = 10**6


@pytest.fixture
def image(tmp_path: Path) -> str:
    """Each of the 40 x 30 pixels tells its place: red its column, green its row."""
    rows, columns = np.mgrid[:30, :40].astype(np.uint8)
    Image.fromarray(np.dstack([columns, rows, np.zeros_like(rows)])).save(tmp_path / "places.png")
    return str(tmp_path / "places.png")


def corners(pixels: np.ndarray) -> list[list[int]]:
    return [pixels[0, 0, :2].tolist(), pixels[-1, -1, :2].tolist()]


@pytest.mark.parametrize(
    ("box", "first", "last"),
    [
        ((10, 5, 20, 25), [10, 5], [19, 24]),
        ((9.6, 4.6, 20.4, 25.4), [10, 5], [19, 24]),  # rounded to the nearest pixel
        ((-3, 0, 40, 33), [0, 0], [39, 29]),  # cut off at the edges
        ((39, 29, 40, 30), [39, 29], [39, 29]),
    ],
)
def test_a_box_is_cut_out(image: str, box: tuple[float, ...], first: list[int], last: list[int]) -> None:
    pixels = read_crop(image, box, MAX_PIXELS)  # type: ignore[arg-type]
    assert pixels.dtype == np.uint8
    assert corners(pixels) == [first, last]


def test_it_is_what_the_code_of_the_revisited_benchmark_cuts(image: str) -> None:
    box = (3.4, 7.6, 30.7, 21.2)
    with Image.open(image) as opened:
        np.testing.assert_array_equal(read_crop(image, box, MAX_PIXELS), np.asarray(opened.crop(box)))


def test_boxes_are_in_the_upright_image(image: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright, 30 x 40: its first row is the first column, reversed
    with Image.open(image) as opened:
        opened.save(tmp_path / "turned.png", exif=exif)
    pixels = read_crop(str(tmp_path / "turned.png"), (0, 0, 2, 2), MAX_PIXELS)
    assert pixels[..., :2].tolist() == [[[0, 29], [0, 28]], [[1, 29], [1, 28]]]


def test_a_jpeg_is_decoded_in_full_size(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000)).save(tmp_path / "large.jpg")
    assert read_crop(str(tmp_path / "large.jpg"), (0, 0, 2999.6, 2000), 10**7).shape == (2000, 3000, 3)


@pytest.mark.parametrize("box", [(50, 0, 60, 10), (0, 0, 90, 30), (39.6, 0, 40.4, 10)])
def test_a_box_that_is_not_of_this_image_is_refused(image: str, box: tuple[float, ...]) -> None:
    with pytest.raises(ImageError, match=r"the box .* is not inside its 40 x 30 pixels"):
        read_crop(image, box, MAX_PIXELS)  # type: ignore[arg-type]


def test_files_that_are_no_images_are_refused(tmp_path: Path, image: str) -> None:
    for name, content, reason in (
        ("text.jpg", b"no picture", "not an image in a known format"),
        ("empty.jpg", b"", "an empty file"),
        ("cut.png", Path(image).read_bytes()[:60], "a damaged or truncated PNG"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=reason):
            read_crop(str(tmp_path / name), (0, 0, 1, 1), MAX_PIXELS)
    with pytest.raises(ImageError, match="No such file"):
        read_crop(str(tmp_path / "absent.jpg"), (0, 0, 1, 1), MAX_PIXELS)
    with pytest.raises(ImageError, match="40x30 pixels are more than max_pixels=100"):
        read_crop(image, (0, 0, 1, 1), 100)
