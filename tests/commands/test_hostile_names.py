"""Names of files that would steer a terminal: everything that commands print for people shows them as escapes."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
from helpers.command_results import Command, Result, done

import tfvlad

NAME = "a\x1b[2J\nrank 1 \u202egpj.\x07.jpg"
SHOWN = r"a\x1b[2J\nrank 1 \u202egpj.\x07.jpg"


def harmless(result: Result) -> None:
    for text in (result.out, result.err):
        categories = {unicodedata.category(character) for character in text if character != "\n"}
        assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """A folder and files with such names, one of which is no image."""
    folder = tmp_path / "\x1bphotos\n"
    folder.mkdir()
    for number, path in enumerate(sorted(photos.iterdir())[:5]):
        shutil.copy(path, folder / f"{number}{NAME}")
    (folder / f"x{NAME}").write_text("no image")
    return folder


@pytest.fixture
def index(folder: Path, encoder: Path, tmp_path: Path) -> Path:
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder)) as made:
        made.sync(folder)
    return tmp_path / "index"


def test_a_hit_is_one_line(command: Command, index: Path, folder: Path) -> None:
    query = folder / f"0{NAME}"
    result = command("search", "--index", index, query, "--k=3")
    harmless(result)
    asked, *rest = result.out.splitlines()
    assert asked.endswith(f"0{SHOWN}")
    assert len(rest) == 1 + 3
    found = json.loads(command("search", "--index", index, query, "--k=1", "--format=json").out)
    assert found[0]["hits"][0]["path"] == str(query)  # the exact name


def test_failures_and_accounts(command: Command, index: Path, folder: Path) -> None:
    again = command("index", "--index", index, "--retry_failed")
    harmless(again)
    assert f"x{SHOWN}: not an image" in again.err
    account = command("index", "--index", index, "--report")
    harmless(account)
    assert len(account.out.splitlines()) == 2
    moved = folder.parent / "\rmoved"
    folder.rename(moved)
    harmless(command("index", "--index", index))
    told = command("index", "--index", index, f"--relocate={folder}={moved}")
    harmless(told)
    assert r"\x1bphotos\n is " in told.out
    harmless(command("doctor", "--index", index))
    harmless(command("index", "--index", index, f"--forget={moved}"))


def test_other_commands(command: Command, index: Path, folder: Path, encoder: Path, fit_flags: list[str]) -> None:
    query, found = folder / f"0{NAME}", folder / f"1{NAME}"
    place = folder.parent / "out\x1b\n"
    for line in (
        ["explain", "--index", index, query, found, f"--output={place}/why.html"],
        ["evaluate", "--index", index, "--queries", folder, "--ground_truth=same_name"],
        ["fit", "--images", folder, f"--encoder={place}/e", *fit_flags],
        ["bench", "--images", folder, "--encoder", encoder],
        ["export", "--encoder", encoder, f"--output={place}/model"],
        ["search", "--index", f"{place}/nowhere", query],
        ["search", "--index", index, f"{place}/nowhere.jpg"],
        ["search", "--index", index, query, f"--box={NAME}"],
        ["layers", f"--backbone={NAME}"],
        [NAME],
        ["search", f"--{NAME}"],
        ["index", "--index", index, "--images", folder, NAME],
    ):
        harmless(command(*line))


def test_the_page_of_results_has_one_name_for_each(command: Command, index: Path, folder: Path, tmp_path: Path) -> None:
    done(command("search", "--index", index, folder / f"0{NAME}", "--k=2", "--html", tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<bdi ") == 1 + 2
    assert "\x1b" not in page
