"""The results page: complete, escaped, self-contained, and written in one move."""

from __future__ import annotations

import base64
import io
import os
import re
import urllib.parse
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfvlad.evaluation.queries_and_results import QueryResult, ResultHit
from tfvlad.images.thumbnails import Thumbnail, thumbnail
from tfvlad.reports import _page
from tfvlad.reports.results_page import HIT_SIDE, QUERY_SIDE, write_results_page

Element = tuple[str, dict[str, str | None]]


class Page(HTMLParser):
    """A page's elements and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[Element] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.elements or self.elements[-1][0] != "style":
            self.text += data

    def of_class(self, name: str) -> list[Element]:
        return [element for element in self.elements if name in (element[1].get("class") or "").split()]

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == "img"]


def decode(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))))


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Five plain images, 400 x 300, each of its own grey."""
    paths = [tmp_path / f"photo{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("RGB", (400, 300), (50 * number,) * 3).save(path)
    return [str(path) for path in paths]


def write(tmp_path: Path, *rows: QueryResult, **settings: object) -> Page:
    write_results_page(tmp_path / "page.html", rows, **settings)  # type: ignore[arg-type]
    return Page(tmp_path / "page.html")


def test_a_row_per_query_and_a_tile_per_hit_in_order(tmp_path: Path, photos: list[str]) -> None:
    first = QueryResult(photos[0], [ResultHit(photos[1], 0.98765), ResultHit(photos[2], 0.5)])
    page = write(tmp_path, first, QueryResult(photos[3], [ResultHit(photos[4], -0.25)]))
    assert len(page.of_class("query")) == 2
    assert len(page.of_class("hit")) == 3
    assert [image["alt"] for image in page.images()] == [
        "Query: photo0.png",
        "Hit 1: photo1.png",
        "Hit 2: photo2.png",
        "Query: photo3.png",
        "Hit 1: photo4.png",
    ]
    assert re.findall(r"-?\d\.\d{3}", page.text.split("Query 1")[1]) == [
        "0.988",
        "0.500",
        "-0.250",
    ]
    assert photos[1] in [attributes.get("title") for _, attributes in page.elements]


def test_right_hits_are_framed_and_marked_in_words(tmp_path: Path, photos: list[str]) -> None:
    hits = [ResultHit(photos[1], 0.9, False), ResultHit(photos[2], 0.8, True), ResultHit(photos[3], 0.7, False)]
    page = write(tmp_path, QueryResult(photos[0], hits))
    assert ["right" in (attributes["class"] or "") for _, attributes in page.of_class("hit")] == [False, True, False]
    assert len(page.of_class("mark")) == 1
    assert "✓ first right hit at rank\N{NO-BREAK SPACE}2" in page.text


def test_a_query_without_a_right_hit_says_so(tmp_path: Path, photos: list[str]) -> None:
    page = write(tmp_path, QueryResult(photos[0], [ResultHit(photos[1], 0.9, False), ResultHit(photos[2], 0.8, False)]))
    assert "✗ no right hit among these 2" in page.text
    assert not page.of_class("mark")


def test_nothing_is_called_right_or_wrong_without_ground_truth(tmp_path: Path, photos: list[str]) -> None:
    page = write(tmp_path, QueryResult(photos[0], [ResultHit(photos[1], 0.9)]), QueryResult(photos[2], []))
    assert not page.of_class("mark")
    assert not page.of_class("verdict")
    assert "No hits." in page.text


def test_title_notes_and_metrics_come_first(tmp_path: Path, photos: list[str]) -> None:
    page = write(
        tmp_path,
        QueryResult(photos[0], []),
        title="Covers & <photographs>",
        notes=["one note", "another"],
        metrics={"queries": 60, "mAP": 0.84175, "layer": "fire8"},
    )
    assert page.text.count("Covers & <photographs>") == 2  # <title> and <h1>
    head = page.text.split("Query 1")[0]
    shown = ["one note", "another", "queries", "60", "mAP", "0.842", "layer", "fire8"]
    assert [head.index(text) for text in shown] == sorted(head.index(text) for text in shown)


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>.png", "a&amp;b \"q\" 'p'.png", "{{ 7 * 7 }}.png"])
def test_file_names_are_text(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    path = str(tmp_path / name)
    page = write(tmp_path, QueryResult(path, [ResultHit(path, 1.0)]))
    assert page.text.count(name) == 2
    assert [image["alt"] for image in page.images()] == [f"Query: {name}", f"Hit 1: {name}"]
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]


@pytest.mark.parametrize("name", ["plain.png", "a b#c?d%41.png", "ü:é.png", "javascript:alert(1).png"])
def test_a_picture_opens_its_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "some folder").mkdir()
    (tmp_path / "pages").mkdir()
    path = tmp_path / "some folder" / name
    Image.new("RGB", (8, 8)).save(path)
    page_path = tmp_path / "pages" / "page.html"
    write_results_page(page_path, [QueryResult(str(path), [ResultHit(str(path), 1.0)])])
    links = [attributes["href"] or "" for tag, attributes in Page(page_path).elements if tag == "a"]
    assert len(links) == 2
    for link in links:
        opened = urllib.parse.urlsplit(urllib.parse.urljoin(page_path.as_uri(), link))
        assert (opened.scheme, opened.query, opened.fragment) == ("file", "", "")
        assert urllib.parse.unquote(opened.path) == str(path)


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    hits = [ResultHit(str(tmp_path / folder / "002.jpg"), 0.5) for folder in ("books", "covers")]
    page = write(tmp_path, QueryResult("002.jpg", hits))
    assert "books/002.jpg" in page.text
    assert "covers/002.jpg" in page.text


def test_every_query_can_be_reached_from_a_list(tmp_path: Path, photos: list[str]) -> None:
    hits = (
        [ResultHit(photos[1], 0.9, right=True)],
        [ResultHit(photos[1], 0.9, right=False)],
        [ResultHit(photos[1], 0.1)],
    )
    rows = [QueryResult(photos[number], of_query) for number, of_query in enumerate(hits)]
    rows.append(QueryResult(photos[3], hits[2], unanswered="probably not in the index"))
    page = write(tmp_path, *rows)
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] or "" for tag, attributes in page.elements if tag == "a"]
    inside = [link[1:] for link in links if link.startswith("#")]
    assert inside == ["query-1", "query-2", "query-3", "query-4", "queries"]
    assert set(inside) <= ids
    assert re.findall(r"photo(\d).png *([✓✗?]?)\n", page.text.split("All queries")[1]) == [
        ("0", "✓"), ("1", "✗"), ("2", ""), ("3", "?")
    ]  # fmt: skip


def test_one_query_needs_no_list(tmp_path: Path, photos: list[str]) -> None:
    assert "All queries" not in write(tmp_path, QueryResult(photos[0], [ResultHit(photos[1], 0.9)])).text


def test_a_name_that_is_not_utf8_is_shown_with_an_escape(tmp_path: Path) -> None:
    path = os.path.join(str(tmp_path), os.fsdecode(b"caf\xe9.png"))
    Image.new("RGB", (8, 8)).save(path)
    page = write(tmp_path, QueryResult(path, []))
    assert len(page.images()) == 1
    assert "caf\\udce9.png" in page.text


def test_missing_and_broken_files_get_a_tile_that_says_so(tmp_path: Path, photos: list[str]) -> None:
    whole = Path(photos[0]).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    bad = [str(tmp_path / name) for name in ("gone.jpg", "cut.png", "text.jpg", ".")]
    page = write(tmp_path, QueryResult(photos[0], [ResultHit(path, 0.5) for path in [*bad, "nul\0.jpg"]]))
    assert len(page.images()) == 1
    for reason in (
        "No such file or directory",
        "a damaged or truncated PNG",
        "not an image in a known format",
        "Is a directory",
        "a path cannot hold a zero byte",
    ):
        assert page.text.count(reason) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_place_of_a_photograph_is_not_waited_for(tmp_path: Path, photos: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    page = write(tmp_path, QueryResult(photos[0], [ResultHit(str(tmp_path / "pipe.jpg"), 0.5)]))
    assert page.text.count("is not a regular file") == 1


def test_the_page_needs_nothing_else(tmp_path: Path, photos: list[str]) -> None:
    page = write(tmp_path, QueryResult(photos[0], [ResultHit(photos[1], 0.9, True)]), metrics={"mAP": 1.0})
    loaded = [
        value
        for tag, attributes in page.elements
        for name in ("src", "href")
        if tag != "a" and (value := attributes.get(name))
    ]
    assert len(loaded) == 3  # two images and the empty icon
    assert all(address.startswith("data:") for address in loaded)
    assert not {"script", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?:|url\(|@import", page.source)


def test_thumbnails_are_reduced_and_keep_their_shape(tmp_path: Path, photos: list[str]) -> None:
    page = write(tmp_path, QueryResult(photos[0], [ResultHit(photos[1], 0.9)]))
    for image, side in zip(page.images(), (QUERY_SIDE, HIT_SIDE), strict=True):
        size = decode(image["src"] or "").size
        assert size == (side, side * 3 // 4) == (int(image["width"] or 0), int(image["height"] or 0))


def test_each_file_is_encoded_once(tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[tuple[str, int]] = []
    real = _page.thumbnail

    def counted(path: str, side: int, box: object) -> Thumbnail:
        encoded.append((path, side))
        return real(path, side)

    monkeypatch.setattr(_page, "thumbnail", counted)
    hits = [ResultHit(path, 0.5) for path in photos]
    write(tmp_path, *(QueryResult(query, hits) for query in photos))
    assert sorted(encoded) == sorted((path, side) for path in photos for side in (HIT_SIDE, QUERY_SIDE))


def test_rows_are_written_as_they_come(tmp_path: Path, photos: list[str]) -> None:
    sizes = []

    def rows() -> Iterator[QueryResult]:
        for _ in range(30):
            (partial,) = tmp_path.glob(".page.html.*")
            sizes.append(partial.stat().st_size)
            yield QueryResult(photos[0], [ResultHit(path, 0.5) for path in photos])

    write_results_page(tmp_path / "page.html", rows())
    assert 0 < sizes[15] < sizes[29]


def test_a_failure_leaves_the_earlier_page_and_nothing_else(tmp_path: Path) -> None:
    def rows() -> Iterator[QueryResult]:
        yield QueryResult("a.jpg", [])
        raise RuntimeError("search failed")

    (tmp_path / "page.html").write_text("earlier")
    with pytest.raises(RuntimeError, match="search failed"):
        write_results_page(tmp_path / "page.html", rows())
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "earlier"


def test_thumbnail_is_upright_and_opaque_and_holds_pixels_only(tmp_path: Path) -> None:
    # A clear 20 x 10 image whose left half is red; orientation 6 asks for a quarter turn clockwise: red comes on top.
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x013B] = "the artist"
    image.save(tmp_path / "a.png", exif=exif)
    small = thumbnail(str(tmp_path / "a.png"), 200)
    assert small is not None
    assert (small.width, small.height) == (10, 20)
    jpeg = decode(small.address)
    assert not jpeg.getexif()
    red, white = jpeg.getpixel((5, 3)), jpeg.getpixel((5, 16))
    assert max(abs(a - b) for a, b in zip((*red, *white), (255, 0, 0, 255, 255, 255), strict=True)) < 12


def test_thumbnail_of_sixteen_bit_grey_keeps_its_tones(tmp_path: Path) -> None:
    Image.fromarray(np.full((10, 10), 0x8000, np.uint16)).save(tmp_path / "a.png")  # half of white: 0x80 of 8 bits
    small = thumbnail(str(tmp_path / "a.png"), 200)
    assert small is not None
    assert decode(small.address).getpixel((5, 5)) == (128, 128, 128)
