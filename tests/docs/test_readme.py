"""The README's code runs as printed, and the figures in its comments are what it prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.documentation import blocks
from PIL import Image


def test_python_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        noise = Image.fromarray(generator.integers(0, 255, (12, 16, 3), np.uint8)).resize((160, 120))
        noise.save(tmp_path / "photos" / f"{number}.jpg")
    noise.save(tmp_path / "query.jpg")
    monkeypatch.chdir(tmp_path)
    code = blocks("python")
    assert len(code) == 3
    printed = io.StringIO()
    for block in code:
        with contextlib.redirect_stdout(printed):
            exec(compile(block, "README.md", "exec"), {})
    found, recall, metrics = printed.getvalue().splitlines()
    assert found.startswith(str(tmp_path / "photos" / "11.jpg"))
    assert float(found.split()[-1]) == pytest.approx(1, abs=1e-3)
    assert float(recall) == 1
    # Ranks 1 and 3 of the junk-free ranking: AP = ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2 = 19/24.
    assert [float(value) for value in metrics.split()] == pytest.approx([19 / 24, 1, 1, 0.5])


def test_the_commands_that_are_shown_exist() -> None:
    from tfvlad.commands._main import COMMANDS

    shown = set(re.findall(r"tfvlad (\w+) ", " ".join(blocks("bash") + blocks("text"))))
    assert shown <= set(COMMANDS)
    assert {"fit", "index", "search"} <= shown
