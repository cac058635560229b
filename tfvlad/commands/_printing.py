"""What commands print, and the files that they are told to write: tables, JSON, failures, and checks of a target."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

from tfvlad.errors import ConfigError, Failure

DONE, SOME_FAILED = 0, 1  # exit statuses


def print_json(document: object) -> None:
    """Prints one JSON document on standard output."""
    print(json.dumps(document, indent=2))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows in columns under a head: words are aligned to the left, columns of numbers to the right."""
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
    print(f"{len(failures)} of the images could not be used:", file=sys.stderr)
    for failure in failures:
        print(f"  {failure}", file=sys.stderr)
    return SOME_FAILED


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Makes a failure to write name the path that the user gave, not the temporary file beside it.

    Raises:
      ConfigError: in place of an OSError that the block raises.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{path} cannot be written: {error.filename} is not a folder") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def check_writable(path: str) -> None:
    """Checks that a file can be written at this path, before the work whose result it will hold.

    The folders above it are made.

    Raises:
      ConfigError: no file can be written there; the message says why.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder; give the path of a file")
    folder = os.path.dirname(os.path.abspath(path))
    with writing(path):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    columns = zip(cells, widths, right, strict=True)
    return "  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in columns).rstrip()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell in ("", "-")
    return True
