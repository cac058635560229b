"""Roots: the folders that an index was brought in line with, and where they are now."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from tfvlad.errors import ConfigError


class Root(NamedTuple):
    """A synchronised folder.

    Attributes:
      id: its row in the catalog.
      path: absolute, as last synchronised.
      relative: the same place seen from the index folder, both with their links resolved.
    """

    id: int
    path: str
    relative: str

    def locate(self, index_folder: str) -> str:
        """Where the folder is: its absolute path, or, where that is gone, its place relative to the index folder.

        A disk that holds photographs and index side by side can so be mounted elsewhere.
        """
        if os.path.isdir(self.path):
            return self.path
        beside = os.path.normpath(os.path.join(os.path.realpath(index_folder), self.relative))
        return beside if os.path.isdir(beside) else self.path


def place(folder: str, index_folder: str) -> tuple[str, str]:
    """A folder's absolute path, and its path relative to the index folder (absolute too on another drive)."""
    try:
        relative = os.path.relpath(os.path.realpath(folder), os.path.realpath(index_folder))
    except ValueError:  # Windows: no relative path leads from one drive to another
        relative = os.path.realpath(folder)
    return os.path.abspath(folder), relative


def find_root(folder: str, roots: Iterable[Root], index_folder: str) -> Root | None:
    """The root that `folder` is, whatever path or link leads to it.

    Raises:
      ConfigError: the folder lies inside a root, or a root inside it: its images would be indexed twice.
    """
    real = os.path.realpath(folder)
    places = [(root, os.path.realpath(root.locate(index_folder))) for root in roots]
    for root, other in places:
        if other == real:
            return root
    for _, other in places:
        if _inside(real, other) or _inside(other, real):
            raise ConfigError(f"{folder} overlaps {other}, which the index already holds; synchronise that one instead")
    return None


def _inside(inner: str, outer: str) -> bool:
    return os.path.join(inner, "").startswith(os.path.join(outer, ""))
