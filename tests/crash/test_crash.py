"""The crash harness and the stress test, briefly; how to run them at length is in their own docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from crash import stress

SECONDS = 2
HERE = Path(__file__).parent


def test_kills_at_random_points_lose_at_most_a_batch() -> None:
    """In a process of its own: a harness that forks must have no threads."""
    command = [sys.executable, str(HERE / "harness.py"), "--kills", "6", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 kills survived\n")


def test_searches_while_one_synchronises(tmp_path: Path) -> None:
    told = stress.run(tmp_path, SECONDS, threads=3, processes=1, seed=0)
    assert told.startswith("2 s, 3 threads, 1 processes: ")
