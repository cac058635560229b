"""Where indexed files are, and their bytes as they were indexed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import write

from tfvlad.errors import ConfigError, ImageError
from tfvlad.index import Index


@pytest.fixture
def index(photos: Path, tmp_path: Path) -> Index:
    write(photos, a="one", b="one", c="two")
    (photos / "d").mkdir()
    write(photos / "d", e="three")
    made = Index.create(tmp_path / "i", FakeEncoder())
    made.sync(photos)
    return made


def test_files_are_located_by_id(index: Index, photos: Path) -> None:
    ids = {path: file for file, path, _ in index.images()}
    found = index.locate([*ids.values(), 0, -1, 99, 2**64])
    assert {file: one.path for file, one in found.items()} == {file: path for path, file in ids.items()}
    assert {one.folder for one in found.values()} == {str(photos)}
    assert found[ids["a.jpg"]].image == found[ids["b.jpg"]].image != found[ids["c.jpg"]].image
    assert found[ids[os.path.join("d", "e.jpg")]].full_path == str(photos / "d" / "e.jpg")
    assert index.locate([]) == {}


def test_a_folder_that_moved_with_the_index_is_followed(index: Index, tmp_path: Path) -> None:
    index.close()
    place = tmp_path.with_name(f"{tmp_path.name} moved")
    os.rename(tmp_path, place)
    with Index.open(place / "i", FakeEncoder()) as moved:
        assert moved.locate([1])[1].folder == str(place / "photos")
        assert moved.content(1) in (b"one", b"two", b"three")


def test_content_is_what_was_indexed(index: Index, photos: Path) -> None:
    ids = {path: file for file, path, _ in index.images()}
    assert index.content(ids["c.jpg"]) == b"two"
    write(photos, a="two", b="four")  # the bytes of another indexed image, and of none
    (photos / "c.jpg").unlink()
    for name, reason in (("a", "has changed"), ("b", "has changed"), ("c", "No such file")):
        with pytest.raises(ImageError, match=reason):
            index.content(ids[f"{name}.jpg"])
    for file in (0, 99, 2**70):
        with pytest.raises(ConfigError, match=f"no file with the id {file}"):
            index.content(file)


def test_the_fingerprint_is_that_of_the_encoder(index: Index) -> None:
    assert index.fingerprint == FakeEncoder().fingerprint
