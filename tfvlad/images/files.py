"""Reads image files: regular ones only, without waiting for anybody, and no more than an image file may have."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

import numpy as np

from tfvlad.errors import ImageError
from tfvlad.images.listing import too_large
from tfvlad.images.sources import Source

_NOT_REGULAR = "is not a regular file"
_END = 32 * 1024  # bytes of a file's beginning, and of its end, that tell it from others


def read_regular(path: str | os.PathLike[str]) -> tuple[bytes, os.stat_result]:
    """Reads a whole regular file, without ever waiting, as for the writer of a named pipe.

    A file that says that it has no bytes counts as empty. Those of ``/proc`` do, some of which never end, and others
    wait for something to happen.

    Returns:
      The bytes, and the status of the file that they were read from.

    Raises:
      OSError: it cannot be read, is no regular file, or is larger than any image file may be.
    """
    name = os.fsdecode(path)
    _require_regular(os.stat(path), name)  # opening a device may do something, even without reading from it
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        _require_regular(status, name)
        if reason := too_large(status.st_size):
            raise OSError(errno.EFBIG, reason, name)
        return file.read(status.st_size), status


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Reads a whole image file, see `read_regular`.

    Raises:
      ImageError: it cannot be read.
    """
    name = os.fsdecode(path)
    if "\0" in name:
        raise ImageError(name.replace("\0", "\\0"), "a path cannot hold a zero byte")
    try:
        return read_regular(path)[0]
    except OSError as error:
        raise ImageError(name, error.strerror or type(error).__name__) from None


def content_key(source: Source) -> bytes:
    """A key by which images are sorted whatever their names are: 32 bytes, from their content.

    Of a file it covers the size and the first and last 32 KiB, so that a million photographs are sorted in the time of
    opening them. What cannot be read comes last.

    Args:
      source: an image, see `tfvlad.images.sources.Source`.
    """
    if isinstance(source, bytes):
        size, ends = len(source), source[:_END] + source[max(_END, len(source) - _END) :]
    elif isinstance(source, np.ndarray):
        size, ends = source.nbytes, repr(source.shape).encode() + np.ascontiguousarray(source).tobytes()
    else:
        try:
            size, ends = _read_ends(source)
        except (OSError, ValueError):
            return b"\xff" * 33
    return hashlib.sha256(b"%d " % size + ends).digest()


def _read_ends(path: str | os.PathLike[str]) -> tuple[int, bytes]:
    """The size of a regular file, and its first and last 32 KiB, which do not overlap."""
    name = os.fsdecode(path)
    _require_regular(os.stat(path), name)
    with open(path, "rb", opener=_open_at_once) as file:
        size = os.fstat(file.fileno()).st_size
        first = file.read(_END)
        file.seek(max(_END, size - _END))
        return size, first + file.read(_END)


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _NOT_REGULAR, name)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
