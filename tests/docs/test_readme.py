"""The README's code runs as printed, and it stays as short as a front door is."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from helpers.documentation import README, blocks, commands


def test_python_code_runs(workplace: Path) -> None:
    (code,) = blocks("python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    (found,) = printed.getvalue().splitlines()
    assert found.startswith(str(workplace / "photos" / "11.jpg"))
    assert float(found.split()[-1]) == pytest.approx(1, abs=1e-3)


def test_the_commands_that_are_shown_exist() -> None:
    from tfvlad.commands._main import COMMANDS

    shown = {name for name, *_ in commands(README, "bash", "console")}
    assert shown <= set(COMMANDS)
    assert {"fit", "index", "search", "evaluate", "sweep", "demo"} <= shown


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200
