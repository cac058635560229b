"""The account of inputs that could not be used."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tfvlad.errors import Failure

DONE, SOME_FAILED = 0, 1


def report_failures(failures: Sequence[Failure]) -> int:
    """Prints the failures on standard error and returns the exit status."""
    if not failures:
        return DONE
    print(f"{len(failures)} of the images could not be used:", file=sys.stderr)
    for failure in failures:
        print(f"  {failure}", file=sys.stderr)
    return SOME_FAILED
