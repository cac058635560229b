"""Files and folders that appear whole or not at all: they are written beside their place, then renamed into it.

A process that is killed may leave a temporary file or folder there; the next process that writes to the same place
removes it. Each temporary is locked while its writer lives, so that nobody removes one that is still being written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a temporary path beside `path`; the file there replaces `path` when the block ends without an exception.

    Args:
      path: the file to write; missing parent folders are made.

    Example:
      ``with atomic_file("page.html") as temporary: Path(temporary).write_text(page)``
    """
    target = os.path.abspath(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    settle(target)
    with _own(lambda: _empty_file(target)) as temporary:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, target)
        _sync(os.path.dirname(target))


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], replace: bool = True) -> Iterator[str]:
    """Gives a temporary folder beside `path`; it replaces `path` when the block ends without an exception.

    An existing folder is moved aside before the new one takes its place, and deleted afterwards, so that at every
    moment the old or the new folder is whole on the disk.

    Args:
      path: the folder to write; missing parent folders are made.
      replace: whether an existing folder is replaced, also one that appears while the block runs.

    Raises:
      FileExistsError: there is something at `path`, and `replace` is False.
    """
    target = os.path.abspath(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    settle(target)
    with _own(lambda: tempfile.mkdtemp(dir=os.path.dirname(target), prefix=_prefix(target))) as workplace:
        temporary = os.path.join(workplace, "new")
        os.mkdir(temporary)
        try:
            yield temporary
            for folder, _, files in os.walk(temporary):
                for name in files:
                    _sync(os.path.join(folder, name))
                _sync(folder)
            if os.path.lexists(target):
                if not replace:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
                os.rename(target, os.path.join(workplace, "old"))
            os.rename(temporary, target)
            _sync(os.path.dirname(target))
        finally:
            _put_back(workplace, target)


def settle(path: str | os.PathLike[str]) -> None:
    """Removes what killed processes left beside `path`, and puts back a folder that they had moved aside."""
    target = os.path.abspath(path)
    pattern = os.path.join(glob.escape(os.path.dirname(target)), glob.escape(_prefix(target)) + "?" * 8)
    for temporary in glob.glob(pattern):
        with contextlib.suppress(OSError), _locked(temporary):
            _put_back(temporary, target)
            _remove(temporary)


def write_json(path: str, value: Any) -> None:
    """Writes a value as a JSON file, whole or not at all.

    Raises:
      ValueError: the value holds NaN or an infinite number, see `or_null`.
    """
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, allow_nan=False)


def read_json(path: str) -> Any:
    """Reads a JSON file; gives None where there is no file, or one that is not JSON, or lists in lists without end."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def or_null(value: float) -> float | None:
    """Turns NaN, which JSON does not have, into None."""
    return None if math.isnan(value) else float(value)


@contextlib.contextmanager
def _own(make: Callable[[], str]) -> Iterator[str]:
    """Makes a temporary file or folder and holds its lock; removes it at the end, unless it was renamed."""
    with contextlib.ExitStack() as stack:
        while True:
            temporary = make()
            try:
                stack.enter_context(_locked(temporary))
            except (BlockingIOError, FileNotFoundError):  # another process removed it before we held its lock
                continue
            except OSError:  # a file system without locks; `settle` then removes nothing either
                pass
            break
        try:
            yield temporary
        finally:
            _remove(temporary)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Holds the lock of a file or folder.

    Raises:
      OSError: another process holds it, or the path is gone or leads to something else by now.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(descriptor)


def _put_back(workplace: str, target: str) -> None:
    """Undoes a replacement that stopped half-way, with the old folder moved aside and the new one not yet in place."""
    old, new = os.path.join(workplace, "old"), os.path.join(workplace, "new")
    if os.path.lexists(old) and os.path.lexists(new) and not os.path.lexists(target):
        os.rename(old, target)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _prefix(target: str) -> str:
    return f".{os.path.basename(target)}.tfvlad-"


def _empty_file(target: str) -> str:
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=_prefix(target))
    os.close(handle)
    return temporary


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
