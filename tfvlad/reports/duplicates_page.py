"""The page of duplicates: the files of each group side by side, in one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from tfvlad.reports._page import write_page

SIDE = 200  # pixels; the longest side of a file's picture


class ShownFile(Protocol):
    """What the page needs to know of a file; `tfvlad.index.Duplicate` is one."""

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def how(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def size(self) -> tuple[int, int] | None: ...
    @property
    def inliers(self) -> int | None: ...


def write_duplicates_page(
    path: str | os.PathLike[str], groups: Sequence[Sequence[ShownFile]], summary: str, notes: Sequence[str] = ()
) -> None:
    """Writes a page of groups of files that show the same picture.

    The page holds its style and its images, runs no script and loads nothing from the network.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      groups: the files of each group, the one that the others are compared with first.
      summary: a sentence under the heading.
      notes: further ones.

    Raises:
      OSError: the file cannot be written.
    """
    write_page(
        path, "duplicates_page.html.j2", {"bytes": _bytes}, title="Duplicates", notes=[summary, *notes], metrics={},
        groups=groups, side=SIDE,
    )  # fmt: skip


def _bytes(count: int) -> str:
    """A file's size as people say it: 812 B, 14 kB, 3.2 MB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return f"{count} B"
