from __future__ import annotations

import importlib.metadata
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers.command_results import Command, document, done

import tfvlad
from tfvlad.commands._printing import SOME_FAILED

PARTS = ["database", "descriptors", "local features", "graph", "files"]


@pytest.fixture
def index(photos: Path, encoder: Path, tmp_path: Path) -> Path:
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder)) as made:
        made.sync(photos)
    return tmp_path / "index"


def test_what_is_installed(command: Command) -> None:
    told = document(command("doctor", "--format=json"))
    assert told["packages"]["numpy"] == np.__version__
    assert told["tfvlad"] == tfvlad.__version__
    assert "core" in told["device"]
    assert "pytest" not in told["packages"]  # only of the tests
    assert told["indexes"] == {}
    printed = done(command("doctor"))
    assert f"numpy                   {np.__version__}" in printed


def test_a_package_under_another_name(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def as_with_tensorflow_cpu(name: str) -> str:
        if name == "tensorflow":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.99" if name == "tensorflow-cpu" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", as_with_tensorflow_cpu)
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"tensorflow": ["tensorflow-cpu"]})
    assert document(command("doctor", "--format=json"))["packages"]["tensorflow"] == "2.99 (tensorflow-cpu)"


def test_a_sound_index(command: Command, index: Path) -> None:
    checks = document(command("doctor", "--index", index, "--format=json"))["indexes"][str(index)]
    assert [check["name"] for check in checks] == PARTS
    assert all(check["sound"] for check in checks)
    assert done(command("doctor", "--index", index)).count("  ok  ") == len(PARTS)


@contextmanager
def damaged(index: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(index / "catalog.sqlite")) as connection:
        yield connection
        connection.commit()


@pytest.mark.parametrize(
    ("part", "damage", "found"),
    [
        ("descriptors", "UPDATE descriptors SET vector = x'00' WHERE id = 1", "holds a descriptor"),
        ("descriptors", "DELETE FROM descriptors WHERE id = 1", "1 images have none; make a new index"),
        ("local features", "UPDATE local_features SET data = x'00' WHERE image = 1", "local features"),
        ("local features", "DELETE FROM local_features WHERE image = 1", "1 images have none; run index"),
        ("database", "UPDATE files SET image = 4711 WHERE id = 1", "refers to nothing"),
    ],
)
def test_what_is_damaged(command: Command, index: Path, part: str, damage: str, found: str) -> None:
    with damaged(index) as connection:
        connection.execute(damage)
    result = command("doctor", "--index", index)
    assert result.status == SOME_FAILED
    (line,) = (line for line in result.out.splitlines() if line.startswith(part))
    assert "NOT SOUND" in line
    assert found in line


def test_descriptors_that_are_not_of_unit_length(command: Command, index: Path) -> None:
    with damaged(index) as connection:
        connection.execute("UPDATE descriptors SET vector = ? WHERE id = 2", [np.full(4, 7, "<f4").tobytes()])
    assert "1 of 8 are not of unit length" in command("doctor", "--index", index).out


def test_photographs_that_are_gone(command: Command, photos: Path, encoder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in photos.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder)) as made:
        made.sync(moved)
    (moved / "003.jpg").unlink()
    result = command("doctor", "--index", tmp_path / "index")
    assert result.status == SOME_FAILED
    assert "1 of 8 are no longer where they were" in result.out


def test_no_index(command: Command, tmp_path: Path) -> None:
    result = command("doctor", "--index", tmp_path)
    assert result.status == 2
    assert "is not an index" in result.err
