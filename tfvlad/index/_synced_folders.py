"""The folders that an index was synchronised with: where they are now, and what the index holds of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import NamedTuple

from tfvlad.errors import ArtifactError, ConfigError, Failure


class Root(NamedTuple):
    """A synchronised folder, as the catalog stores it.

    Attributes:
      id: its id in the catalog; negative before it has one.
      path: its absolute path when it was last synchronised.
      relative: the same place relative to the index folder, with the links in both resolved.
    """

    id: int
    path: str
    relative: str

    def locate(self, index_folder: str) -> str:
        """Where the folder is now: its absolute path or, if nothing is there, its place relative to the index folder.

        So a disk that holds the photographs and the index can be mounted elsewhere.
        """
        if os.path.isdir(self.path):
            return self.path
        beside = os.path.normpath(os.path.join(os.path.realpath(index_folder), self.relative))
        return beside if os.path.isdir(beside) else self.path


def place(folder: str, index_folder: str) -> tuple[str, str]:
    """A folder's absolute path, and its path relative to the index folder (absolute if it is on another drive)."""
    try:
        relative = os.path.relpath(os.path.realpath(folder), os.path.realpath(index_folder))
    except ValueError:  # Windows: no relative path leads from one drive to another
        relative = os.path.realpath(folder)
    return os.path.abspath(folder), relative


def find_root(folder: str, roots: Iterable[Root], index_folder: str) -> Root | None:
    """Finds the root that is the same folder, whatever path or link leads to it; None if there is none.

    Raises:
      ConfigError: the folder lies inside a root, or a root inside it, so that its images would be indexed twice.
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


def known_root(folder: str, roots: Iterable[Root], index_folder: str) -> Root:
    """Finds the root that a folder is, or was: it may be gone.

    Raises:
      ConfigError: the index does not hold this folder; says which it holds.
    """
    roots = list(roots)
    wanted = os.path.abspath(folder)
    for root in roots:
        if wanted in (root.path, os.path.abspath(root.locate(index_folder))):
            return root
    real = os.path.realpath(folder)
    for root in roots:
        if real == os.path.realpath(root.locate(index_folder)):
            return root
    held = ", ".join(root.path for root in roots) or "none"
    raise ConfigError(f"{folder} is not a folder of the index; there are {held}")


class Folders:
    """Turns the catalog's paths, which are relative to a root, into full paths of where the files are now.

    Attributes:
      paths: root id -> the folder's path.
    """

    def __init__(self, roots: Iterable[Root], index_folder: str, catalog_path: str) -> None:
        self.paths = {root.id: root.locate(index_folder) for root in roots}
        self._prefixes = {root: os.path.join(path, "") for root, path in self.paths.items()}
        self._catalog_path = catalog_path

    def full_path(self, root: int, path: str) -> str:
        """The full path of a file in a root.

        Raises:
          ArtifactError: the catalog does not hold this root.
        """
        if root not in self._prefixes:
            raise ArtifactError(self._catalog_path, f"is damaged: the folder of {path} is not in it")
        return self._prefixes[root] + path


@dataclasses.dataclass(frozen=True)
class IndexedFolder:
    """A folder that was synchronised, and what the index holds of it.

    Attributes:
      path: where the folder is now.
      files: the number of indexed files.
      failed: the files that are no images, sorted by path. Files that could not be read are not among them:
        `tfvlad.Index.sync` reports them and tries them again the next time.
    """

    path: str
    files: int
    failed: list[Failure]


class IndexedFile(NamedTuple):
    """Where an indexed file is.

    Attributes:
      folder: the path of the synchronised folder, as that is located now.
      path: the file's path in it.
      image: the id of the image that it shows; files of equal bytes show the same one.
    """

    folder: str
    path: str
    image: int

    @property
    def full_path(self) -> str:
        """The file's full path."""
        return os.path.join(self.folder, self.path)


def _inside(inner: str, outer: str) -> bool:
    return os.path.join(inner, "").startswith(os.path.join(outer, ""))
