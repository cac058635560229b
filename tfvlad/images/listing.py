"""Finds the image files of a folder, by their names, without reading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from tfvlad.errors import ConfigError

LARGEST_FILE = 2**30  # bytes; an uncompressed image of 100 megapixels has a third of it
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def list_images(root: str | os.PathLike[str], onerror: Callable[[OSError], object] | None = None) -> Iterator[str]:
    """Walks a folder for image files, by suffix, in sorted order.

    Hidden files and folders are left out. Symbolic links are followed; a folder reached a second time (a loop) is
    not entered again.

    Args:
      root: the folder.
      onerror: called for a folder that cannot be listed, with the error that names it; it is passed over.

    Yields:
      Paths relative to `root`, with the system's separator, each folder's files before its sub-folders' ones.

    Raises:
      NotADirectoryError: `root` is not a folder.
    """
    top = os.fspath(root)
    if not os.path.isdir(top):
        raise NotADirectoryError(f"{top} is not a folder")
    entered = {os.path.realpath(top)}
    for folder, subfolders, files in os.walk(top, onerror=onerror, followlinks=True):
        subfolders[:] = [name for name in sorted(subfolders) if not name.startswith(".")]
        fresh = []
        for name in subfolders:
            real = os.path.realpath(os.path.join(folder, name))
            if real not in entered:
                entered.add(real)
                fresh.append(name)
        subfolders[:] = fresh
        inside = os.path.relpath(folder, top)
        prefix = "" if inside == os.curdir else os.path.join(inside, "")
        for name in sorted(files):
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield prefix + name


def too_large(size: int) -> str:
    """Why a file of so many bytes is refused unread; an empty string where it is not."""
    return f"{size} bytes are more than an image file may have ({LARGEST_FILE})" if size > LARGEST_FILE else ""


def image_paths(folder: str | os.PathLike[str]) -> list[str]:
    """The images of a folder as paths that can be opened, in the order of `list_images`.

    Raises:
      ConfigError: it is not a folder, or holds no image.
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise ConfigError(f"{root} is not a folder")
    paths = [os.path.join(root, name) for name in list_images(root)]
    if not paths:
        raise ConfigError(f"{root} holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return paths
