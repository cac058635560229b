"""The files that commands are told to write: whether one may be written, and what is wrong if it cannot be."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator

from tfvlad.errors import ConfigError

# Files that only an index or an encoder has: nothing is written into such a folder but by itself.
_MARKS = ("catalog.sqlite", "encoder.json")

_LOOKED_AT = 4096  # bytes at the beginning of a file that tell what it is
_PAGES = (".html", ".htm")
_OUR_PICTURE = b"Software\0tfvlad"  # a text chunk of PNG


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


def check_writable(path: str, inputs: Iterable[str] = ()) -> None:
    """Checks that a file may and can be written at this path, before the work whose result it will hold.

    The folders above it are made. A file that is there is replaced only if it is a page (HTML whose name says so) or a
    picture that tfvlad has drawn.

    Args:
      path: the file.
      inputs: files that must not be replaced, whatever they are.

    Raises:
      ConfigError: no file may be written there; the message says why.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder; give the path of a file")
    check_replaceable(path, inputs)
    folder = os.path.dirname(os.path.abspath(path))
    with writing(path):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def check_replaceable(path: str, inputs: Iterable[str] = ()) -> None:
    """Checks that a file is not there, or may be replaced, see `check_writable`; also right before that is done.

    Raises:
      ConfigError: it may not be.
    """
    check_outside(path)
    if not os.path.lexists(path):
        return
    if any(_is_same(path, given) for given in inputs):
        raise ConfigError(f"{path} is one of the images; give another file to write")
    if not _is_ours(path):
        raise ConfigError(f"{path} is there already, and is nothing that tfvlad wrote; give another name, or delete it")


def check_outside(path: str) -> None:
    """Refuses a path inside an index or an encoder, which would be damaged.

    Raises:
      ConfigError: names the folder.
    """
    folder, inside = os.path.dirname(os.path.realpath(path)), None
    while folder != inside:
        if any(os.path.lexists(os.path.join(folder, mark)) for mark in _MARKS):
            raise ConfigError(f"{path} lies inside the index or encoder {folder}; give a place outside of it")
        folder, inside = os.path.dirname(folder), folder


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False


def _is_ours(path: str) -> bool:
    """Whether a file is a page, or a picture that tfvlad has drawn; a link counts as what it leads to."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(_LOOKED_AT)
    except OSError:
        return False
    if path.lower().endswith(_PAGES):
        return not start or b"<html" in start.lower() or b"<!doctype html" in start.lower()
    return path.lower().endswith(".png") and (not start or _OUR_PICTURE in start)
