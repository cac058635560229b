"""Index folders from somebody who means harm: each is refused in one line that names the file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import write
from PIL import Image

from tfvlad.errors import ArtifactError, MismatchError
from tfvlad.index.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos", a="one", b="two", c="bad")
    with Index.create(tmp_path / "i", FakeEncoder()) as made:
        made.sync(tmp_path / "photos", encoder=FakeEncoder())
    return tmp_path / "i"


def sql(index: Path, statement: str) -> None:
    connection = sqlite3.connect(index / "catalog.sqlite")
    connection.executescript(statement)
    connection.close()


def use(index: Path) -> None:
    """What a search, a listing, a report and a synchronisation read."""
    with Index.open(index, FakeEncoder()) as opened:
        opened.search_descriptors(np.eye(opened._catalog.dim), k=3)
        list(opened.images())
        opened.folders()
        opened.verify()
        opened.sync(index.parent / "photos", encoder=FakeEncoder())


def index_refused(index: Path, reason: str) -> None:
    with pytest.raises((ArtifactError, MismatchError)) as caught:
        use(index)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(index))
    assert reason in message


def test_an_honest_index_is_used(index: Path) -> None:
    use(index)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE files", "is not as tfvlad makes it"),
        ("CREATE TRIGGER t AFTER UPDATE ON roots BEGIN DELETE FROM files; END", "trigger t is not as tfvlad makes it"),
        ("CREATE VIEW v AS SELECT load_extension('x')", "view v is not as tfvlad makes it"),
        (
            "DROP TABLE failures; CREATE VIEW failures AS SELECT 1 AS root, x'2e' AS path, 1 AS reason",
            "failures is not",
        ),
        ("ALTER TABLE files ADD COLUMN evil TEXT", "table files is not as tfvlad makes"),
        ("CREATE INDEX i ON files (hex(path))", "index i is not as tfvlad makes it"),
        ("UPDATE meta SET value = '7' WHERE key = 'format'", "is of format 7, newer than the format 3"),
        ("UPDATE meta SET value = '0' WHERE key = 'format'", "is of format 0"),
        ("UPDATE meta SET value = '1' WHERE key = 'format'", "table failures is not as tfvlad makes it"),
        ("UPDATE meta SET value = 'x' WHERE key = 'views'", "is damaged: views must be"),
        ("UPDATE meta SET value = '-1' WHERE key = 'local_features'", "local_features is -1"),
        ("UPDATE meta SET value = '99999999' WHERE key = 'local_features'", "local_features is 99999999"),
        ("UPDATE meta SET value = x'00ff' WHERE key = 'local_features'", "is damaged: invalid literal"),
        ("UPDATE meta SET value = '1000000000000' WHERE key = 'dim'", "dim is 1000000000000"),
        ("UPDATE meta SET value = '0' WHERE key = 'dim'", "dim is 0"),
        ("UPDATE meta SET value = '7' WHERE key = 'dim'", "a descriptor that has not 7 dimensions"),
        ("UPDATE meta SET value = '99999999999' WHERE key = 'm'", "m is 99999999999"),
        ("UPDATE meta SET value = '-1' WHERE key = 'ef_search'", "ef_search is -1"),
        ("UPDATE meta SET value = x'00ff' WHERE key = 'fingerprint'", "was made with the encoder"),
        ("UPDATE descriptors SET vector = zeroblob(1000000) WHERE id = 1", "a descriptor that has not 8 dimensions"),
        ("UPDATE descriptors SET vector = 'text' WHERE id = 1", "a descriptor that has not 8 dimensions"),
        ("UPDATE descriptors SET vector = x'" + "0000c07f" * 8 + "' WHERE id = 1", "with NaN or infinite values"),
        ("UPDATE files SET path = CAST('../../etc/passwd' AS BLOB) WHERE id = 1", "leads out of its folder"),
        ("UPDATE files SET path = CAST('/etc/passwd' AS BLOB) WHERE id = 1", "leads out of its folder"),
        ("UPDATE files SET path = 'text' WHERE id = 1", "leads out of its folder"),
        ("UPDATE files SET path = 5 WHERE id = 1", "leads out of its folder"),
        ("UPDATE files SET path = x'6100622e6a7067' WHERE id = 1", "leads out of its folder"),
        ("UPDATE failures SET path = CAST('../x' AS BLOB)", "leads out of its folder"),
        ("UPDATE files SET root = 99", "the folder of"),
        ("UPDATE failures SET root = 99", "the folder of"),
        ("UPDATE roots SET path = 5", "holds a folder that is no path"),
        ("UPDATE roots SET relative = x'00'", "holds a folder that is no path"),
        ("UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'descriptors'", "counts its descriptors by"),
    ],
)
def test_a_crafted_catalog(index: Path, statement: str, reason: str) -> None:
    sql(index, statement)
    index_refused(index, reason)


def test_a_reason_is_told_in_one_line(index: Path) -> None:
    sql(index, "UPDATE failures SET reason = 'first' || char(10) || char(27) || '[2Jsecond'")
    with Index.open(index) as opened:
        assert [failure.reason for failure in opened.folders()[0].failed] == ["first [2Jsecond"]


@pytest.mark.parametrize(
    "name", ["catalog.sqlite", "catalog.sqlite-wal", "graph.hnsw", "writer.lock", "writer.txt", "encoder"]
)
def test_links_in_an_index(index: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "precious"
    if (index / name).exists():
        (index / name).rename(target)
    else:
        target.write_text("precious")
    (index / name).symlink_to(target)
    index_refused(index, f"{name}: is a link, or no regular file" if name != "catalog.sqlite" else "is a link")
    if target.is_file() and name == "writer.txt":
        assert target.read_text() == "precious"


@pytest.mark.parametrize("size", [0, 100, 4096, 20_000])
def test_a_catalog_that_is_cut_off(index: Path, size: int) -> None:
    os.truncate(index / "catalog.sqlite", size)
    index_refused(index, "catalog.sqlite")


def test_an_encoder_swapped_for_a_photograph(index: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    (index / "encoder" / "encoder.json").write_bytes((tmp_path / "x.png").read_bytes())
    with Index.open(index) as opened, pytest.raises(ArtifactError, match=r"encoder\.json: damaged"):
        opened.search(b"x")
