from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfvlad.images.listing import list_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_come_before_sub_folders_and_both_are_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg", "a.PNG", "b/2.gif", "b/1.webp", "b/a/1.bmp", "a/x.jpeg", "c/notes.txt", "a.b/x.jpg")
    assert list(list_images(tmp_path)) == [
        name.replace("/", os.sep)
        for name in ["a.PNG", "z.jpg", "a/x.jpeg", "a.b/x.jpg", "b/1.webp", "b/2.gif", "b/a/1.bmp"]
    ]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg", ".thumbnails/a.jpg", "seen.jpg")
    assert list(list_images(tmp_path)) == ["seen.jpg"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg", "photos/sub/b.jpg", "elsewhere/c.jpg")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "photos" / "sub")
    (tmp_path / "photos" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "nothing").symlink_to(tmp_path / "nowhere")
    (tmp_path / "photos" / "circle").symlink_to(tmp_path / "photos" / "circle")
    found = list(list_images(tmp_path / "photos"))
    assert found == ["a.jpg", os.path.join("again", "b.jpg"), os.path.join("other", "c.jpg")]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.rstrip(os.sep).endswith("a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    errors: list[OSError] = []
    assert list(list_images(tmp_path, errors.append)) == [os.path.join("b", "2.jpg")]
    assert [str(error.filename).rstrip(os.sep) for error in errors] == [str(tmp_path / "a")]
    assert list(list_images(tmp_path)) == [os.path.join("b", "2.jpg")]


def test_what_is_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    for root in (tmp_path / "a.jpg", tmp_path / "nowhere"):
        with pytest.raises(NotADirectoryError, match="is not a folder"):
            next(list_images(root))


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Three thousand folders, one in the other, each with an image; the path of the last is no path of the system's."""
    top = tmp_path / "deep"
    top.mkdir()
    inside = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.close(os.open("a.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
        os.mkdir("d", dir_fd=inside)
        outside, inside = inside, os.open("d", os.O_RDONLY, dir_fd=inside)
        os.close(outside)
    os.close(inside)
    yield top
    while os.path.exists(top):  # rmtree recurses: cut the chain where the path still has a name
        middle = top.joinpath(*["d"] * 400)
        if middle.exists():
            middle.rename(tmp_path / "rest")
        shutil.rmtree(top)
        top = tmp_path / "rest"
        if top.exists():
            top = top.rename(tmp_path / "deep")


@pytest.mark.skipif(sys.platform != "linux", reason="makes folders relative to an open one")
def test_a_folder_that_is_too_deep_is_told_and_the_others_are_listed(deep: Path) -> None:
    errors: list[OSError] = []
    found = list(list_images(deep, errors.append))
    # A folder's path has 4,095 bytes at most; each level adds two.
    assert len(found) == (4095 - len(str(deep))) // 2 + 1
    (error,) = errors
    assert error.strerror == "File name too long"
