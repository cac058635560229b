"""The crash harness and the stress test, briefly; how to run them at length is in their own docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from crash import opening, stress
from helpers.other_user import needs_root, shared_place

SECONDS = 2
HERE = Path(__file__).parent


def test_kills_at_random_points_lose_at_most_a_batch() -> None:
    """In a process of its own: a harness that forks must have no threads."""
    command = [sys.executable, str(HERE / "harness.py"), "--kills", "4", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 kills survived\n")


def test_searches_while_one_synchronises(tmp_path: Path) -> None:
    told = stress.run(tmp_path, SECONDS, threads=3, processes=1, others=0, seed=0)
    assert told.startswith("2 s, 3 threads, 1 processes, 0 of another user: ")


@needs_root
@pytest.mark.parametrize("threads", [0, 2])  # without any, nobody keeps the log from being cleared away
def test_searches_of_another_user_while_one_synchronises(threads: int) -> None:
    with shared_place() as place:
        told = stress.run(place, 1, threads, processes=0, others=2, seed=0)
    assert told.startswith(f"1 s, {threads} threads, 0 processes, 2 of another user: ")


def test_opening_again_and_again_uses_up_nothing(tmp_path: Path) -> None:
    opening.make(tmp_path / "index", 4000)
    used = list(opening.open_often(tmp_path / "index", 15))
    settled, last = used[4], used[-1]
    # What earlier tests left behind may end meanwhile.
    assert last.file_descriptors <= settled.file_descriptors
    assert last.threads <= settled.threads
    assert last.mebibytes - settled.mebibytes < 8, (
        used
    )  # one graph of these is 1.6 MiB, and it was opened 10 times more
