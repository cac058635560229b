from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tfvlad.storage import atomic
from tfvlad.storage.atomic import atomic_file, atomic_folder, or_null, read_json, settle, write_json


def killed(statement: str, place: Path) -> None:
    """Runs a statement in a process that dies by SIGKILL when it calls `die`."""
    program = f"""
import os, signal, sys
from tfvlad.storage import atomic
from tfvlad.storage.atomic import atomic_file, atomic_folder
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
path = sys.argv[1]
{statement}
"""
    done = subprocess.run([sys.executable, "-c", program, str(place)])
    assert done.returncode == -signal.SIGKILL


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


def test_what_a_killed_process_left_is_cleared_away_by_the_next_writer(tmp_path: Path) -> None:
    killed("with atomic_file(path): die()", tmp_path / "file")
    killed("with atomic_folder(path): die()", tmp_path / "folder")
    assert len(hidden(tmp_path)) == 2
    with atomic_file(tmp_path / "file") as temporary:
        Path(temporary).write_text("whole")
    with atomic_folder(tmp_path / "folder") as temporary:
        Path(temporary, "part").write_text("whole")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_folder_that_was_moved_aside_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    between = """
rename = os.rename
def first_only(source, target):
    rename(source, target)
    die()
os.rename = first_only
with atomic_folder(path): pass
"""
    killed(between, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    settle(tmp_path / "folder")
    assert os.listdir(tmp_path / "folder") == ["old"]
    assert hidden(tmp_path) == []


def test_a_folder_that_cannot_be_renamed_into_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    rename = os.rename

    def full(source: str, target: str) -> None:
        if source.endswith("new"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"), atomic_folder(tmp_path / "folder"):
        pass
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == ["old"]


def test_the_temporaries_of_the_living_are_left_alone(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "x") as mine, atomic_folder(tmp_path / "y") as folder:
        settle(tmp_path / "x")
        settle(tmp_path / "y")
        assert os.path.exists(mine)
        assert os.path.exists(folder)
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    kept = [".x.tfvlad-notes.txt", ".x.backup", ".xy.tfvlad-12345678", "x.tfvlad-12345678"]
    for name in kept:
        (tmp_path / name).touch()
    with atomic_file(tmp_path / "x"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "x"])


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(atomic.fcntl, "flock", unsupported)
    (tmp_path / ".x.tfvlad-12345678").touch()
    with atomic_file(tmp_path / "x") as temporary:
        Path(temporary).write_text("whole")
    assert sorted(os.listdir(tmp_path)) == [".x.tfvlad-12345678", "x"]


def test_json_comes_back_and_nothing_else_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "values.json")
    assert read_json(path) is None
    write_json(path, {"mAP": or_null(0.5), "recall": or_null(math.nan)})
    assert read_json(path) == {"mAP": 0.5, "recall": None}
    with pytest.raises(ValueError):
        write_json(path, math.nan)
    assert read_json(path) == {"mAP": 0.5, "recall": None}
    Path(path).write_text('{"mAP": 0.')
    assert read_json(path) is None
