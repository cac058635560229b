"""A few seconds of each fuzzer; the long runs are told in their docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="Atheris is made for Linux on x86-64 only")

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize(
    "fuzzer",
    ["fuzz_images.py", "fuzz_encoder_folder.py", "fuzz_pickles.py", "fuzz_weights.py", "fuzz_local_features.py"],
)
def test_a_short_run_finds_nothing(fuzzer: str, tmp_path: Path) -> None:
    # A process starts with the peak memory of the one that started it, and libFuzzer's limit counts that. The child of
    # a shell starts with a shell's.
    small = ["sh", "-c", '"$@"; exit $?', "sh"]
    command = [*small, sys.executable, str(HERE / fuzzer), "-max_total_time=4", "-seed=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
    assert int(runs[0].split()[1]) > 50
    assert not list(tmp_path.iterdir())
