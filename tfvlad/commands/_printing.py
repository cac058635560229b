"""What commands print: lines, tables, JSON and failures, with every name made printable."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tfvlad.errors import Failure
from tfvlad.printable import printable

DONE, SOME_FAILED = 0, 1  # exit statuses


def say(line: str) -> None:
    """Prints one line for people on standard output; whatever names it holds cannot steer the terminal."""
    print(printable(line), flush=True)


def note(line: str) -> None:
    """Prints one line for people on standard error, likewise."""
    print(printable(line), file=sys.stderr)


def show(text: str) -> None:
    """Prints a table, or other text of several lines, whose names are printable already."""
    print(text, flush=True)


def print_json(document: object) -> None:
    """Prints one JSON document on standard output."""
    print(json.dumps(document, indent=2))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows in columns under a head: words are aligned to the left, columns of numbers to the right.

    Every cell is made printable, so that a row is a line.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    right = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(_line(line, widths, right) for line in lines)


def report_failures(failures: Sequence[Failure]) -> int:
    """Prints the inputs that could not be used on standard error.

    Returns:
      The exit status: `DONE` where there is no failure, else `SOME_FAILED`.
    """
    if not failures:
        return DONE
    note(f"{len(failures)} of the images could not be used:")
    for failure in failures:
        note(f"  {failure}")
    return SOME_FAILED


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    columns = zip(cells, widths, right, strict=True)
    return "  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in columns).rstrip()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell in ("", "-")
    return True
