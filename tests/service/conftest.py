"""A served index of drawn pictures, of an encoder without a network, and ways to ask the service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the extra service")

from helpers.fake_encoder import FakeEncoder
from helpers.services import asked, picture, settings
from starlette.testclient import TestClient

from tfvlad.index.index import Index

PICTURES = 30


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``00.jpg`` … in a folder called ``pictures``."""
    folder = tmp_path_factory.mktemp("served") / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number:02}.jpg").write_bytes(picture(number))
    return folder


@pytest.fixture(scope="session")
def served_index(pictures: Path) -> Path:
    """An index of them, to search only; a test that changes one makes its own."""
    path = pictures.parent / "pictures.index"
    with Index.create(path, FakeEncoder()) as index:
        index.sync(pictures)
    return path


@pytest.fixture(scope="module")
def client(served_index: Path) -> Iterator[TestClient]:
    """Asks a service that is ready."""
    with asked({"pictures": str(served_index)}, settings()) as client:
        yield client
