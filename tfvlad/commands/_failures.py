"""The account of inputs that could not be used."""

from __future__ import annotations

import sys
from collections.abc import Sequence

DONE, SOME_FAILED = 0, 1


def report_failures(failures: Sequence[tuple[str, str]]) -> int:
    """Prints each (path, reason) on standard error and returns the exit status."""
    if not failures:
        return DONE
    print(f"{len(failures)} of the images could not be used:", file=sys.stderr)
    for path, reason in failures:
        print(f"  {path}: {reason}", file=sys.stderr)
    return SOME_FAILED
