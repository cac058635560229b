"""Each benchmark starts, and the timing that they share is fair."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "timing")

# Contenders are found by name in processes of their own: they need a script that can be imported there.
TOY = """
import dataclasses
import time
import timing

@dataclasses.dataclass
class Row:
    name: str
    runs: int
    ratio: float
    quality: float

def sleeper(seconds, factor=1):
    return lambda: time.sleep(factor * seconds), lambda _: {"factor": factor}

def three_times(seconds):
    return sleeper(seconds, factor=3)

def absent(seconds):
    import no_such_package

if __name__ == "__main__":
    arguments = timing.parser("a toy", rounds=3).parse_args()
    contenders = {"one": sleeper, "three": three_times, "absent": absent}
    timings, missing = timing.compare(contenders, [0.02], 1, arguments.rounds)
    rows = [Row(n, len(t.seconds), t.ratio(timings["one"]), t.quality["factor"]) for n, t in timings.items()]
    timing.print_table("toy", ("", "runs"), ((row.name, row.runs) for row in rows))
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)
"""


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("timing")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    command = [sys.executable, str(FOLDER / f"{script}.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert f"python benchmarks/{script}.py" in result.stdout
    assert "--json" in result.stdout


def test_contenders_are_timed_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    command = [sys.executable, "toy.py", "--json", "toy.json", "--rounds", "5"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if line]
    assert lines[:4] == [["toy"], ["runs"], ["one", "5"], ["three", "5"]]
    assert result.stdout.splitlines()[-1] == "left out: absent (No module named 'no_such_package')"

    document = json.loads((tmp_path / "toy.json").read_text())
    assert set(document) == {"command", "date", "machine", "versions", "missing", "rows"}
    assert document["command"] == "python toy.py --json toy.json --rounds 5"
    assert "numpy" in document["versions"]
    assert document["missing"] == ["absent (No module named 'no_such_package')"]
    one, three = document["rows"]
    assert one == {"name": "one", "runs": 5, "ratio": 1, "quality": 1}
    assert (three["name"], three["runs"], three["quality"]) == ("three", 5, 3)
    assert three["ratio"] > 0


def test_the_ratio_is_taken_within_rounds(timing: ModuleType) -> None:
    # Twice the time in each round, though the medians are both 4.
    slow, fast = (timing.Timing(np.array(seconds), np.zeros(3), 0, {}) for seconds in ([2.0, 4, 16], [1.0, 4, 8]))
    assert slow.ratio(fast) == 2
    assert slow.median == fast.median == 4


def test_short_runs_are_repeated(timing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    def run() -> None:
        nonlocal clock
        clock += 2

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    monkeypatch.setattr(timing.time, "process_time", lambda: clock / 2)
    assert timing._time(run, 0) == (2, 1)
    assert clock == 2
    assert timing._time(run, 5) == (2, 1)  # three runs of 2 seconds fill 5
    assert clock == 2 + 6
