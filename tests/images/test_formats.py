"""Which format a file has: by its bytes, and by its suffix in a folder."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import pytest
from helpers.many_formats import KINDS
from helpers.raw_files import dng

from tfvlad.errors import ConfigError, PassingImageError
from tfvlad.images import _headers, _profiles, formats
from tfvlad.images.formats import FORMATS, IN_GRAPH, RAW, SUFFIXES, recognise
from tfvlad.images.listing import image_paths, in_words, list_images


@pytest.mark.parametrize("kind", KINDS)
def test_a_format_is_recognised_by_its_bytes(kind: str) -> None:
    assert recognise(KINDS[kind].data) is KINDS[kind].form


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 40, b"\0\0\0\x14ftypisom\0\0\2\0isommp41", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", b"%PDF-1.7", b"II*"],
)
def test_what_is_no_image(data: bytes) -> None:
    assert recognise(data) is None


def test_raw_files_are_told_from_tiffs() -> None:
    assert recognise(dng(b"")) is RAW
    assert recognise(b"II*\0\x10\0\0\0CR\2\0") is RAW  # Canon's CR2
    assert recognise(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom") is RAW  # and CR3
    nikon = b"MM\0*\0\0\0\x08" + b"\0\1" + b"\1\x4a\0\4\0\0\0\1\0\0\0\x1a" + bytes(4)  # a sub-directory at 26
    assert recognise(nikon + b"\0\1" + b"\1\6\0\3\0\0\0\1\x80\x23\0\0" + bytes(4)) is RAW  # of colour filters
    assert recognise(nikon + b"\0\1" + b"\1\6\0\3\0\0\0\1\0\2\0\0" + bytes(4)) is formats.TIFF  # of RGB
    assert recognise(b"II*\0\x08\0\0\0" + b"\xff" * 40) is formats.TIFF
    circle = b"II*\0\x08\0\0\0\1\0\x4a\1\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0"
    assert recognise(circle) is formats.TIFF


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_heads_raise_nothing(kind: str) -> None:
    whole = np.frombuffer(KINDS[kind].data[:2000], np.uint8)
    generator = np.random.default_rng(2)
    for number in range(200):
        damaged = whole[: generator.integers(1, len(whole) + 1) if number % 2 else None].copy()
        at = generator.integers(0, len(damaged), generator.integers(1, 9))
        damaged[at] = generator.choice([0, 1, 127, 128, 255], len(at))
        data = damaged.tobytes()
        recognise(data)
        for finder in (_profiles._in_jpeg, _profiles._in_png, _profiles._in_webp):
            finder(data)


def test_the_formats_of_the_graph_come_in_its_order() -> None:
    assert _headers.FORMATS == tuple(form.name for form in IN_GRAPH) == ("JPEG", "PNG", "GIF", "BMP", "WebP")


def test_suffixes_belong_to_one_format() -> None:
    assert len(set(SUFFIXES)) == len(SUFFIXES) == sum(len(form.suffixes) for form in FORMATS)
    assert {".heic", ".heif", ".avif", ".tif", ".tiff", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw"} <= {
        *SUFFIXES
    }


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PassingImageError, match=r"it: RAW files need rawpy: pip install 'tfvlad\[raw\]'"):
        RAW.require_library("it")
    formats.JPEG.require_library("it")


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    for name in ("a.jpg", "b.HEIC", "c.mov", "inside/d.MOV", "inside/e.txt", "README", ".DS_Store", "f."):
        (tmp_path / name).touch()
    passed_over: collections.Counter[str] = collections.Counter()
    assert list(list_images(tmp_path, passed_over=passed_over)) == ["a.jpg", "b.HEIC"]
    assert passed_over == {".mov": 2, ".txt": 1, "without a suffix": 1, ".": 1}
    assert in_words({".txt": 3, ".mov": 12, ".avi": 3}) == "12 .mov, 3 .avi, 3 .txt"


def test_a_folder_of_other_files_says_which(tmp_path: Path) -> None:
    (tmp_path / "a.mov").touch()
    with pytest.raises(ConfigError, match=r"; passed over: 1 \.mov$"):
        image_paths(tmp_path)
