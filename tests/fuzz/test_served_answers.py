"""A few hundred of the mutations of `fuzz_served_answers.py`, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")


def test_mutated_answers_end_as_descriptors_or_as_one_line() -> None:
    script = Path(__file__).with_name("fuzz_served_answers.py")
    command = [sys.executable, str(script), "--mutations", "600", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    *ends, _ = (line.split() for line in done.stdout.splitlines())
    assert sum(int(count) for *_, count in ends) == 600
    assert {end for _, _, end, _ in ends} >= {"result", "ServingError"}
