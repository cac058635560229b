"""Finds the image files of a folder, by their names, without reading them."""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

from tfvlad.errors import ConfigError
from tfvlad.images.formats import SUFFIXES

LARGEST_FILE = 2**30  # bytes; an uncompressed image of 100 megapixels has a third of it
IMAGE_SUFFIXES = SUFFIXES  # of files that are taken for images
NO_SUFFIX = "without a suffix"

PassedOver = collections.Counter[str]  # suffix, in lower case, or `NO_SUFFIX` -> files that are not taken for images


def list_images(
    root: str | os.PathLike[str],
    onerror: Callable[[OSError], object] | None = None,
    passed_over: PassedOver | None = None,
) -> Iterator[str]:
    """Walks a folder for image files, by suffix, in sorted order.

    Hidden files and folders are left out. Symbolic links are followed; a folder reached a second time (a loop) is
    not entered again.

    Args:
      root: the folder.
      onerror: called for a folder that cannot be listed, with the error that names it; it is passed over.
      passed_over: counts the other files, but not the hidden ones, by suffix.

    Yields:
      Paths relative to `root`, with the system's separator, each folder's files before its sub-folders' ones.

    Raises:
      NotADirectoryError: `root` is not a folder.
    """
    top = os.fspath(root)
    if not os.path.isdir(top):
        raise NotADirectoryError(f"{top} is not a folder")
    entered = {_identity(top)}
    waiting = [""]  # folders to be listed, the next one last: (relative to the root, with a separator behind it)
    while waiting:
        inside = waiting.pop()
        try:
            files, folders, others = _entries(os.path.join(top, inside[:-1]) if inside else top)
        except OSError as error:
            if onerror is not None:
                onerror(error)
            continue
        if passed_over is not None:
            passed_over.update(map(_suffix, others))
        yield from (inside + name for name in files)
        fresh = []
        for name in folders:
            with contextlib.suppress(OSError):  # gone since it was listed, or deeper than the system allows
                identity = _identity(os.path.join(top, inside, name))
                if identity in entered:
                    continue
                entered.add(identity)
            fresh.append(os.path.join(inside, name, ""))
        waiting += reversed(fresh)


def _entries(folder: str) -> tuple[list[str], list[str], list[str]]:
    """The names of a folder's images and sub-folders, each sorted, and of its other files; without hidden ones."""
    files, folders, others = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                files.append(entry.name)
            else:
                others.append(entry.name)
    return sorted(files), sorted(folders), others


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower() or NO_SUFFIX


def in_words(passed_over: Mapping[str, int]) -> str:
    """Says how many files are not taken for images, the most frequent ones first: ``12 .mov, 3 .txt``."""
    ordered = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {suffix}" for suffix, count in ordered)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link that leads in a circle
        return False


def _identity(folder: str) -> tuple[int, int]:
    """What tells a folder from all others, whatever path leads to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def too_large(size: int) -> str:
    """Why a file of so many bytes is refused unread; an empty string where it is not."""
    return f"{size} bytes are more than an image file may have ({LARGEST_FILE})" if size > LARGEST_FILE else ""


def image_paths(folder: str | os.PathLike[str], passed_over: PassedOver | None = None) -> list[str]:
    """The images of a folder as paths that can be opened, in the order of `list_images`.

    Args:
      folder: the folder.
      passed_over: see `list_images`.

    Raises:
      ConfigError: it is not a folder, or holds no image.
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise ConfigError(f"{root} is not a folder")
    others: PassedOver = collections.Counter()
    paths = [os.path.join(root, name) for name in list_images(root, passed_over=others)]
    if not paths:
        told = f"; passed over: {in_words(others)}" if others else ""
        raise ConfigError(f"{root} holds no image ({', '.join(IMAGE_SUFFIXES)}){told}")
    if passed_over is not None:
        passed_over.update(others)
    return paths
