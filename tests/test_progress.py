from __future__ import annotations

import io
import re
import time

import pytest

from tfvlad import progress
from tfvlad.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_DELAY", 0.1)
    monkeypatch.setattr(progress, "_REFRESHED", 0.05)
    monkeypatch.setattr(progress, "_LINES", 0.05)
    monkeypatch.setattr(progress, "_plain_lines", False)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_a_bar_appears_before_the_first_piece_is_done(terminal: Terminal) -> None:
    with Progress(None, "Encoding", 4, ncols=80, file=terminal) as bar:
        time.sleep(0.4)
        shown = terminal.getvalue()
        bar.update(4)
    assert "\rEncoding:   0%|" in shown
    assert "| 4/4 [" in terminal.getvalue()
    assert terminal.getvalue().endswith("images/s]\n")


def test_work_without_pieces_shows_its_time(terminal: Terminal) -> None:
    with Progress(None, "Fitting the codebook", ncols=80, file=terminal):
        time.sleep(0.3)
    assert "\rFitting the codebook: 00:00 so far" in terminal.getvalue()


def test_short_work_shows_nothing(terminal: Terminal) -> None:
    assert list(Progress(["a", "b"], "Encoding", 2, file=terminal)) == ["a", "b"]
    assert terminal.getvalue() == ""


def test_lines_where_a_command_writes_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    progress.show_plain_lines()
    with Progress(None, "Encoding", 4) as bar:
        bar.update()
        time.sleep(0.4)
        bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines
    line = r"Encoding: [12] of 4 images, +\d+\.\d+ images/s, 00:00 so far, 00:0\d left"
    assert all(re.fullmatch(line, each) for each in lines)


def test_a_library_is_silent_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(None, "Encoding", 4) as bar:
        time.sleep(0.3)
        bar.update()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("as_lines", [False, True])
def test_what_takes_minutes_says_once_what_would_be_faster(
    as_lines: bool, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    if as_lines:
        progress.show_plain_lines()
    settings = {} if as_lines else {"file": terminal, "ncols": 80}
    with Progress(None, "Encoding", 10**5, if_long="Use a smaller network", **settings) as bar:
        bar.update()
        time.sleep(0.4)
    shown = capsys.readouterr().err if as_lines else terminal.getvalue()
    assert len(re.findall(r"About \d+ more minutes at \d+(\.\d+)? images/s. Use a smaller network\n", shown)) == 1


def test_what_takes_seconds_does_not(terminal: Terminal) -> None:
    with Progress(None, "Encoding", 20, if_long="Use a smaller network", file=terminal, ncols=80) as bar:
        bar.update(5)
        time.sleep(0.4)
    assert "smaller" not in terminal.getvalue()
