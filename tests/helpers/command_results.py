"""The results of commands (exit status, standard output, standard error), and what tests expect of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# The broken files of the fixture `broken`, and what is wrong with them.
REASONS = {
    "cut.jpg": "a damaged or truncated JPEG",
    "empty.png": "an empty file",
    "text.jpg": "not an image in a known format",
}


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Result]


def refusal(result: Result) -> str:
    """Returns the only line that a refused command printed; fails where it printed anything else."""
    assert result.status == 2, result
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    assert result.err.endswith("\n")
    return result.err.strip()


def done(result: Result) -> str:
    """Returns the standard output of a command that succeeded without a word on standard error."""
    assert (result.status, result.err) == (0, ""), result
    return result.out


def document(result: Result, status: int = 0) -> Any:
    """Parses the one JSON document on standard output; fails on NaN, which is not JSON."""
    assert result.status == status, result

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(result.out, parse_constant=refuse)


def assert_listed(result: Result, *broken: Path) -> None:
    """Checks that standard error lists exactly these broken files, each once, with its reason."""
    assert result.status == 1, result
    head, *lines = result.err.splitlines()
    assert head == f"{len(broken)} of the images could not be used:"
    assert sorted(lines) == [f"  {path}: {REASONS[path.name]}" for path in sorted(broken)]
