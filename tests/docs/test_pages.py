"""The pages of docs/: their code and commands run, and the flags, files and links that they name exist."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
from pathlib import Path

import pytest
from absl import flags
from helpers.documentation import README, ROOT, blocks, commands, pages

from tfvlad.commands._main import COMMANDS, run

DOCS = ROOT / "docs"
PAGES = pages()
# Flags that make a command quick, added where it has them and a page does not give them.
QUICK = {
    "backbone": "vgg16",
    "weights": "random:0",
    "layer": "block1_conv2",
    "layers": "block1_conv2",
    "image_size": "32",
    "image_sizes": "32",
    "clusters": "4",
    "dim": "8",
    "dims": "8",
}
NOT_RUN = {"demo"}  # it has a test of its own, and takes longer than all the others


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def flags_of(command: str) -> flags.FlagValues:
    values = flags.FlagValues()  # type: ignore[no-untyped-call]
    values.set_gnu_getopt(True)
    importlib.import_module(f"tfvlad.commands.{command}").define(values)
    return values


def quick(command: list[str]) -> list[str]:
    name, *arguments = command
    given = {argument.removeprefix("--").partition("=")[0] for argument in arguments}
    known = set(flags_of(name))
    if name == "index" and ("encoder" in given or Path("photos.index").exists()):
        return command  # nothing is fitted
    return [*command, *(f"--{flag}={value}" for flag, value in QUICK.items() if flag in known - given)]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "bash")], ids=name_of)
def test_commands_run(page: Path, workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "tensorflow")
    shown = commands(page, "bash")
    if "fit" not in {name for name, *_ in shown}:
        assert run(quick(["fit", "--images=photos", "--encoder=photos.encoder"])) == 0
        assert run(["index", "--images=photos", "--encoder=photos.encoder", "--index=photos.index"]) == 0
    for command in shown:
        if command[0] not in NOT_RUN:
            assert run(quick(command)) == 0, command


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page, "bash", "sh", "console")], ids=name_of)
def test_commands_have_flags_that_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the flagfiles are that a page names
    for name, *arguments in commands(page, "bash", "sh", "console"):
        values = flags_of(name)
        operands = values([name, *arguments])[1:]
        assert importlib.import_module(f"tfvlad.commands.{name}").OPERANDS or not operands


@pytest.mark.parametrize("page", [page for page in PAGES if page != README and blocks("python", page)], ids=name_of)
def test_python_code_runs(page: Path, workplace: Path) -> None:
    printed = io.StringIO()
    for block in blocks("python", page):
        with contextlib.redirect_stdout(printed):
            exec(compile(block, page.name, "exec"), {})
    lines = printed.getvalue().splitlines()
    if page.name == "photographs.md":
        recall, *hits, metrics = lines
        assert float(recall) == 1
        assert len(hits) == 3
        assert hits[0].endswith(str(Path("photos", "11.jpg")))
        assert len(metrics.split()) == 2
    elif page.name == "python.md":
        # Ranks 1 and 3 of the junk-free ranking: AP = ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2 = 19/24.
        (metrics,) = lines
        assert [float(value) for value in metrics.split()] == pytest.approx([19 / 24, 1, 1, 0.5])


def test_the_reference_has_every_command_and_its_flags() -> None:
    reference = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- help: (\w+) -->", reference) == list(COMMANDS)
    assert re.findall(r"^## (\w+)$", reference, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:benchmarks|docs|flags|kernels|tests|tfvlad)/[^\s`*<>{}]*)", page.read_text(encoding="utf-8")
    )
    assert [path for path in named if not (ROOT / path).exists() and "NAME" not in path] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []
