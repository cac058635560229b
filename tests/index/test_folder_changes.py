from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.syncing import contents, counts, described, fail_to_open, run, write

from tfvlad.errors import ConfigError, Failure
from tfvlad.images import listing
from tfvlad.index import _folder_changes
from tfvlad.index.catalog import Catalog


def test_what_cannot_be_read_stays_as_it_is_indexed(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, a="one")
    run(catalog, photos)
    write(photos, a="changed", b="two")
    with monkeypatch.context() as patch:
        patch.setattr(_folder_changes, "read_regular", fail_to_open)
        report = run(catalog, photos)
    assert report.failed == [
        Failure(str(photos / "a.jpg"), "cannot be read: Permission denied"),
        Failure(str(photos / "b.jpg"), "cannot be read: Permission denied"),
    ]
    assert contents(catalog) == described(a="one")
    assert counts(run(catalog, photos)) == (1, 1, 0, 0, 0)


def test_a_folder_that_cannot_be_listed_keeps_its_images(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "locked").mkdir()
    write(photos, a="one", b="two")
    write(photos / "locked", c="three")
    run(catalog, photos)
    (photos / "b.jpg").unlink()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if os.path.basename(path) == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = run(catalog, photos)
    assert counts(report) == (0, 0, 1, 1, 1)
    assert report.failed == [Failure(str(photos / "locked"), "cannot be listed: Permission denied")]
    assert sorted(contents(catalog)) == ["a.jpg", os.path.join("locked", "c.jpg")]


def test_what_is_no_file_is_told_and_not_opened(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "link.jpg").symlink_to("nothing.jpg")
    report = run(catalog, photos)
    assert counts(report) == (1, 0, 0, 0, 2)
    assert [failure.reason for failure in report.failed] == ["is a link to nothing", "is not a regular file"]


def test_a_file_that_goes_while_the_folder_is_read_is_no_failure(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos)
    write(photos, c="three")
    listed = _folder_changes.list_images

    def list_then_delete(*arguments: Any, **options: Any) -> Iterator[str]:
        paths = list(listed(*arguments, **options))
        (photos / "b.jpg").unlink(missing_ok=True)
        (photos / "c.jpg").unlink(missing_ok=True)
        yield from paths

    monkeypatch.setattr(_folder_changes, "list_images", list_then_delete)
    assert counts(run(catalog, photos)) == (0, 0, 1, 1, 0)
    assert contents(catalog) == described(a="one")


def test_names_that_are_not_utf8(catalog: Catalog, photos: Path) -> None:
    for name, content in ((b"caf\xe9.jpg", b"one"), (b"\xff.png", b"bad")):
        with open(os.path.join(os.fsencode(photos), name), "wb") as file:
            file.write(content)
    report = run(catalog, photos)
    assert counts(report) == (1, 0, 0, 0, 1)
    assert os.fsencode(report.failed[0].path) == os.fsencode(photos) + b"/\xff.png"
    assert counts(run(catalog, photos)) == (0, 0, 0, 1, 1)


def test_dates_beyond_64_bits_of_nanoseconds(catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # NTFS reaches the year 60056; the file systems that tests run on do not.
    write(photos, a="one")
    stamp = _folder_changes._stamp
    late = SimpleNamespace(st_size=3, st_mtime_ns=2**64 - 1, st_ino=2**64 - 1, st_ctime_ns=2**64 - 1)
    monkeypatch.setattr(_folder_changes, "_stamp", lambda status: stamp(late))
    assert counts(run(catalog, photos)) == (1, 0, 0, 0, 0)
    assert counts(run(catalog, photos)) == (0, 0, 0, 1, 0)


def test_a_folder_that_goes_while_it_is_read_does_not_empty_the_index(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos)
    listed = _folder_changes.list_images

    def unplugged(*arguments: Any, **options: Any) -> Iterator[str]:
        if photos.is_dir():
            photos.rename(photos.with_name("unplugged"))
            yield from ("a.jpg", "b.jpg")
        else:
            yield from listed(*arguments, **options)

    monkeypatch.setattr(_folder_changes, "list_images", unplugged)
    with pytest.raises(ConfigError, match="photos is missing, and the index holds 2 of its images; relocate"):
        run(catalog, photos)
    assert contents(catalog) == described(a="one", b="two")


def test_links_that_lead_in_circles(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    (photos / "sub").mkdir()
    write(photos / "sub", b="two")
    (photos / "sub" / "up").symlink_to(photos)
    (photos / "self.jpg").symlink_to("self.jpg")
    report = run(catalog, photos)
    assert report.failed == [Failure(str(photos / "self.jpg"), "cannot be read: Too many levels of symbolic links")]
    assert sorted(contents(catalog)) == ["a.jpg", os.path.join("sub", "b.jpg")]


def test_very_long_names_and_paths(catalog: Catalog, photos: Path) -> None:
    longest = "n" * 251 + ".jpg"  # 255 bytes, as many as file systems take
    (photos / longest).write_text("one")
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(photos)
        for _ in range(20):  # 20 * 256 bytes are more than the 4096 of a path
            os.mkdir("d" * 255)
            os.chdir("d" * 255)
    finally:
        os.fchdir(before)
        os.close(before)
    report = run(catalog, photos)
    assert list(contents(catalog)) == [longest]
    assert [failure.reason for failure in report.failed] == ["cannot be listed: File name too long"]
    assert counts(run(catalog, photos)) == (0, 0, 0, 1, 1)


def test_a_file_too_large_for_an_image_is_told_and_not_read(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LARGEST_FILE", 10)
    write(photos, huge="x" * 11, small="x" * 10)
    report = run(catalog, photos)
    reason = "11 bytes are more than an image file may have (10)"
    assert report.failed == [Failure(str(photos / "huge.jpg"), reason)]
    assert contents(catalog) == described(small="x" * 10)
