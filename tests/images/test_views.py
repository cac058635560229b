"""Views of pictures that a reader can check by hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.crops import read_upright, upright_size
from tfvlad.images.views import GREY, MOST_VIEWS, WHOLE, View, longest_side, parse_views, render_views

MIDDLE = (0.125, 0.125, 0.875, 0.875)


@pytest.fixture
def places() -> np.ndarray:
    """40 x 80 pixels that tell their place: red the column, green the row."""
    rows, columns = np.mgrid[:40, :80].astype(np.uint8)
    return np.dstack([columns, rows, np.full_like(rows, 255)])


def encoded(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def test_turns_are_counter_clockwise(places: np.ndarray) -> None:
    quarter = View(turn=90).render(places)
    assert quarter.shape == (80, 40, 3)
    assert quarter[0, 0, :2].tolist() == [79, 0]  # what was in the upper right is in the upper left
    assert quarter[-1, 0, :2].tolist() == [0, 0]
    assert View(turn=180).render(places)[0, 0, :2].tolist() == [79, 39]
    assert View(turn=270).render(places)[0, 0, :2].tolist() == [0, 39]


def test_a_part_is_cut_out_and_then_turned(places: np.ndarray) -> None:
    view = View(turn=90, box=(0.5, 0.25, 0.75, 0.75))
    assert view.render(places).shape == (20, 20, 3)
    assert view.render(places)[0, 0, :2].tolist() == [59, 10]


def test_the_corners_of_a_turned_picture_are_grey_and_its_middle_stays(places: np.ndarray) -> None:
    turned = View(turn=30).render(places)
    assert turned.shape == (70, 70, 3)  # 7/8 of the longest side
    assert [turned[row, column].tolist() for row in (0, -1) for column in (0, -1)] == [list(GREY)] * 4
    assert np.abs(turned[35, 35, :2].astype(int) - [40, 20]).max() <= 1
    assert View(turn=60).render(places).shape == (70, 70, 3)
    assert View(turn=30, box=(0.5, 0, 1, 1)).render(places).shape == (35, 35, 3)
    assert View(turn=30).render(places[:1, :1]).shape == (1, 1, 3)
    assert [View(turn).extent for turn in (0, 30, 90, 180, 359)] == [1, 0.875, 1, 1, 0.875]


def test_a_turned_part_shows_the_picture_in_its_corners(places: np.ndarray) -> None:
    turned = View(turn=45, box=(0.25, 0.25, 0.75, 0.75)).render(places)
    assert (turned[..., 2] == 255).mean() > 0.95


@pytest.mark.parametrize("turn", [0, 30, 45, 90, 137, 180, 270, 300])
@pytest.mark.parametrize("box", [WHOLE.box, (0.25, 0.2, 0.75, 0.9)])
def test_a_point_of_a_view_is_found_in_the_picture(places: np.ndarray, turn: float, box: tuple[float, ...]) -> None:
    view = View(turn, box)  # type: ignore[arg-type]
    rendered, matrix = view.render(places).astype(float), view.to_picture((80, 40))
    height, width = rendered.shape[:2]
    checked = 0
    for row, column in np.ndindex(height, width):
        if rendered[row, column, 2] == 255:  # of the picture, and not of its edge
            x, y = matrix @ ((column + 0.5) / width, (row + 0.5) / height, 1) * (80, 40) - 0.5
            assert np.abs(rendered[row, column, :2] - (x, y)).max() < 1  # Pillow drops what is behind the point
            checked += 1
    assert checked > height * width / 3


def test_to_picture_of_a_quarter_turn() -> None:
    # The view's origin is the picture's upper right corner; along the view's x the picture's y grows.
    assert View(turn=90).to_picture((3, 7)).tolist() == [[0, -1, 1], [1, 0, 0]]
    assert WHOLE.to_picture((3, 7)).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_names_are_for_ever() -> None:
    assert WHOLE.name == "whole"
    assert View(45).name == View(405).name == View(-315).name == "turn 45"
    assert View(360 / 7).name == "turn 51.428571"
    assert View(0, MIDDLE).name == "box 0.125 0.125 0.875 0.875"
    assert View(90, (0, 0, 2 / 3, 1)).name == "box 0 0 0.666667 1, turn 90"


@given(st.floats(-1000, 1000), *[st.floats(0, 1)] * 4)
def test_every_name_is_of_one_view(turn: float, x0: float, x1: float, y0: float, y1: float) -> None:
    try:
        view = View(turn, (x0, y0, x1, y1))
    except ConfigError:
        return
    assert View.from_name(view.name) == view
    assert 0 <= view.turn < 360


@pytest.mark.parametrize(
    "name",
    ["", "turn", "turn 0", "turn 45.0", "turn 360", "turn -45", "Whole", "box 0 0 1 1", "box 0 0 1", "box 1 0 0 1",
     "turn 45, box 0 0 0.5 1", "box 0 0 .5 1", "box 0 0 0.5 1,turn 45", "turn 4.5.6", "whole, turn 45", "view0"],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a view"):
        View.from_name(name)


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, 0, 1, np.nan)])
def test_boxes_that_are_none(box: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="0 <= x0 < x1 <= 1"):
        View(box=box)  # type: ignore[arg-type]


def test_the_kinds_of_views() -> None:
    def names(text: str) -> list[str]:
        return [view.name for view in parse_views(text)]

    assert names("") == names("whole") == names(" whole ") == names("rotations:1") == ["whole"]
    assert names("rotations:4") == ["whole", "turn 90", "turn 180", "turn 270"]
    assert names("scales:3") == ["whole", "box 0.125 0.125 0.875 0.875", "box 0.21875 0.21875 0.78125 0.78125"]
    assert names("regions:1") == ["whole"]
    assert names("regions:2")[:3] == ["whole", "box 0 0 0.666667 0.666667", "box 0.333333 0 1 0.666667"]
    assert len(names("regions:3")) == 10


def test_kinds_are_combined() -> None:
    views = parse_views("rotations:8, scales:2,regions:2")
    assert len(views) == len(set(views)) == 8 * 2 * 5
    assert views[0] == WHOLE
    assert View(45, MIDDLE) in views
    assert {view.name for view in parse_views("scales:2,rotations:2")} == {
        "whole", "turn 180", "box 0.125 0.125 0.875 0.875", "box 0.125 0.125 0.875 0.875, turn 180",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["rotation:8", "rotations", "rotations:", "rotations:0", "rotations:-1", "rotations:8,rotations:4",
             "rotations:8;scales:2", "whole,rotations:8", "scales:x", "rotations:²", "rotations:1e1"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="views must be some of rotations:N, scales:N, regions:N"):
        parse_views(text)


@pytest.mark.parametrize("text", ["rotations:100,scales:4", f"rotations:{MOST_VIEWS + 1}", "regions:99999"])
def test_too_many_views(text: str) -> None:
    with pytest.raises(ConfigError, match=f"makes more than {MOST_VIEWS} views"):
        parse_views(text)


def test_the_whole_picture_is_given_as_the_file_s_bytes(places: np.ndarray) -> None:
    def unneeded() -> int:
        raise AssertionError

    assert list(render_views(b"no picture", [WHOLE], unneeded, unneeded)) == [b"no picture"]
    content = encoded(places)
    whole, quarter = render_views(content, [WHOLE, View(90)], lambda: 100, lambda: 10_000)
    assert whole == content
    assert np.array_equal(quarter, np.rot90(places))


def test_a_picture_that_cannot_be_rendered() -> None:
    with pytest.raises(ImageError, match="not an image"):
        render_views(b"no picture", [WHOLE, View(90)], lambda: 100, lambda: 10_000)
    with pytest.raises(ImageError, match="more than max_pixels=10"):
        render_views(encoded(np.zeros((4, 4, 3), np.uint8)), [View(90)], lambda: 100, lambda: 10)


def test_large_pictures_are_decoded_no_larger_than_views_need() -> None:
    pixels = np.zeros((1000, 2100, 3), np.uint8)
    for format in ("PNG", "JPEG"):
        content = encoded(pixels, format)
        assert read_upright(content, 10**7, 512).shape in {(250, 525, 3), (263, 525, 3)}
        assert read_upright(content, 10**7, 1100).shape == (1000, 2100, 3)
        assert read_upright(content, 10**7).shape == (1000, 2100, 3)
    assert longest_side([WHOLE, View(45)], 100) == 200
    assert longest_side([WHOLE, View(0, MIDDLE)], 100) == 267


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WebP"])
def test_the_size_stands_in_the_header(format: str, tmp_path: Path, places: np.ndarray) -> None:
    content = encoded(places, format)
    assert upright_size(content) == (80, 40)
    (tmp_path / "a").write_bytes(content)
    assert upright_size(str(tmp_path / "a")) == (80, 40)
    assert upright_size(places) == (80, 40)
    if format in ("JPEG", "PNG", "WebP"):
        exif = Image.Exif()
        exif[0x0112] = 6
        assert upright_size(encoded(places, format, exif=exif)) == (40, 80)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
def test_headers_without_a_size(content: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        upright_size(content)
    assert len(str(caught.value).splitlines()) == 1
