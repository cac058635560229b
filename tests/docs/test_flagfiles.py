"""The flagfiles of the paper's settings are such that their commands take them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from absl import flags

PAPER = Path(__file__).resolve().parents[2] / "docs" / "paper"
GUIDES = "".join(page.read_text(encoding="utf-8") for page in sorted((PAPER.parent / "guides").glob("*.md")))


@pytest.mark.parametrize("path", sorted(PAPER.iterdir()), ids=lambda path: path.name)
def test_the_command_that_a_flagfile_names_takes_it(path: Path) -> None:
    program, command = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split()
    values = flags.FlagValues()  # type: ignore[no-untyped-call]
    importlib.import_module(f"tfvlad.commands.{command}").define(values)
    sets = ["--images=covers", "--output=study"] if path.name.startswith("study-") else []  # the guide names three
    assert values([program, f"--flagfile={path}", *sets]) == [program]
    assert values["clusters"].value in (100, ["100"])
    assert path.name in GUIDES
