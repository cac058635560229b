from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import write

from tfvlad.commands._main import run
from tfvlad.errors import Failure
from tfvlad.index._synced_folders import IndexedFolder
from tfvlad.index.index import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Two folders, one with failures; the encoder is gone."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    write(tmp_path / "a", one="one", copy="one", two="bad", three="bad too")
    write(tmp_path / "b", one="other")
    with Index.create(tmp_path / "i", FakeEncoder()) as made:
        made.sync([tmp_path / "a", tmp_path / "b"], encoder=FakeEncoder())
        (tmp_path / "i" / "encoder" / "fake.txt").unlink()
        yield made


def test_what_each_folder_holds(index: Index, tmp_path: Path) -> None:
    failed = [Failure(f"{tmp_path}/a/three.jpg", "is no picture"), Failure(f"{tmp_path}/a/two.jpg", "is no picture")]
    assert index.folders() == [IndexedFolder(f"{tmp_path}/a", 2, failed), IndexedFolder(f"{tmp_path}/b", 1, [])]


def test_the_report_of_the_command(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["index", f"--index={tmp_path}/i", "--report"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/a: 2 indexed, 2 failed",
        f"  {tmp_path}/a/three.jpg: is no picture",
        f"  {tmp_path}/a/two.jpg: is no picture",
        f"{tmp_path}/b: 1 indexed, 0 failed",
    ]
    assert run(["index", f"--index={tmp_path}/i", "--report", "--format=json"]) == 0
    assert '"failed": []' in capsys.readouterr().out
