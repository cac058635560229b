"""Readers who may not write the index folder see each state that a writer commits, and none that is half of two."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.other_user import OtherUser, can_mount, needs_root, shared_place

from tfvlad.index.index import Index

FILES = 1100  # more than the exact search is used for unasked
QUERY = b"content 7"

pytestmark = needs_root


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A place with photographs and an index of them, which tests change and leave whole."""
    with shared_place() as place:
        photos = place / "photos"
        photos.mkdir()
        for i in range(FILES):
            (photos / f"{i}.jpg").write_text(f"content {i}")
        with Index.create(place / "index", FakeEncoder()) as index:
            index.sync(photos)
        yield place


@pytest.fixture
def place(made: Path) -> Iterator[Path]:
    """The same, with all photographs there and nobody who writes."""
    for i in range(FILES):
        if not (made / "photos" / f"{i}.jpg").exists():
            (made / "photos" / f"{i}.jpg").write_text(f"content {i}")
    with Index.open(made / "index", FakeEncoder()) as index:
        index.sync(made / "photos")
    assert logs(made) == []
    return made


def logs(place: Path) -> list[str]:
    return sorted(name for name in os.listdir(place / "index") if name.startswith("catalog.sqlite-"))


def remove(place: Path, number: int, index: Index) -> None:
    (place / "photos" / f"{number}.jpg").unlink()
    index.sync(place / "photos")


def best(answer: dict[str, Any]) -> tuple[int, str, str]:
    """The number of files, and what the exact search and the graph find first."""
    assert answer["exact"] == answer["graph"], answer
    return answer["files"], answer["exact"][0][0], answer["graph"][0][0]


@pytest.mark.parametrize("mounted", [False, True])
def test_a_reader_follows_a_writer_that_comes_and_goes(place: Path, mounted: bool) -> None:
    if mounted and not can_mount(place / "index"):
        pytest.skip("this process may not mount a folder read-only")
    with OtherUser(place / "index", QUERY, mounted) as reader:
        assert best(reader.ask()) == (FILES, "7.jpg", "7.jpg")
        assert logs(place) == []
        with Index.open(place / "index", FakeEncoder()) as writer:
            remove(place, 7, writer)
            files, exact, graph = best(reader.ask())  # while the writer is there
            assert (files, exact) == (FILES - 1, graph)
            assert exact != "7.jpg"
        assert best(reader.ask())[0] == FILES - 1
        with Index.open(place / "index", FakeEncoder()) as writer:
            (place / "photos" / "new.jpg").write_bytes(QUERY)
            writer.sync(place / "photos")
            os.unlink(place / "photos" / "new.jpg")
        assert best(reader.ask()) == (FILES, "new.jpg", "new.jpg")
        assert best(reader.ask("open")) == (FILES, "new.jpg", "new.jpg")
    with OtherUser(place / "index", QUERY, mounted) as reader:  # on the log that the first one kept
        assert best(reader.ask()) == (FILES, "new.jpg", "new.jpg")


def test_a_reader_sees_what_a_killed_writer_committed(place: Path) -> None:
    with OtherUser(place / "index", QUERY) as reader:
        assert best(reader.ask())[0] == FILES
        writer = multiprocessing.get_context("fork").Process(target=_remove_and_die, args=(place,))
        writer.start()
        writer.join()
        assert logs(place) == ["catalog.sqlite-shm", "catalog.sqlite-wal"]
        assert best(reader.ask())[:2] == (FILES - 1, best(reader.ask())[2])
        assert best(reader.ask("open"))[0] == FILES - 1
        with Index.open(place / "index", FakeEncoder()) as index:
            remove(place, 8, index)
            assert best(reader.ask())[0] == FILES - 2


def test_a_log_that_cannot_be_read_is_refused_in_one_line(place: Path) -> None:
    path = place / "index" / "catalog.sqlite"
    with Index.open(place / "index", FakeEncoder()) as writer, OtherUser(place / "index", QUERY) as reader:
        remove(place, 7, writer)
        os.chmod(f"{path}-shm", 0o600)
        assert reader.ask()["error"].startswith(
            f"{path}: cannot be read by a user who may not write its folder, until one who may has opened it"
        )
        os.chmod(f"{path}-shm", 0o644)
        assert best(reader.ask())[0] == FILES - 1
        os.chmod(path, 0o600)
        assert reader.ask("open") == {"error": f"{path}: cannot be read: Permission denied"}
        os.chmod(path, 0o644)


def test_a_log_alone_is_refused_in_one_line(place: Path) -> None:
    """As when a folder was copied without its shared memory, to where the reader may not write."""
    copy = place / "copy"
    with Index.open(place / "index", FakeEncoder()) as writer:
        remove(place, 7, writer)
        shutil.copytree(place / "index", copy, ignore=shutil.ignore_patterns("*-shm"))
    with OtherUser(copy, QUERY) as reader:
        assert reader.ask()["error"].endswith(
            "cannot be read by a user who may not write its folder, until one who may has opened it "
            "(unable to open database file)"
        )
        with Index.open(copy, FakeEncoder()) as index:
            assert len(index) == FILES - 1
        assert best(reader.ask())[0] == FILES - 1
    shutil.rmtree(copy)


def test_who_may_not_write_is_refused_in_one_line_and_changes_nothing(place: Path) -> None:
    with OtherUser(place / "index", QUERY) as reader:
        before = sorted(os.listdir(place / "index"))
        assert reader.ask("sync") == {"error": f"{place}/index/writer.txt: cannot be written: Permission denied"}
        assert sorted(os.listdir(place / "index")) == before


def _remove_and_die(place: Path) -> None:
    remove(place, 7, Index.open(place / "index", FakeEncoder()))
    os._exit(0)
