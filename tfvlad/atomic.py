"""Files and folders that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a temporary path beside `path`; what was written there replaces `path` when the block ends well."""
    target = os.path.abspath(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, target)
        _sync(os.path.dirname(target))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], replace: bool = True) -> Iterator[str]:
    """Gives a temporary folder beside `path`; it takes the place of `path` when the block ends well.

    A folder that is already there is moved aside first and deleted last, so that at every moment one of the two is
    whole.

    Args:
      path: the folder.
      replace: False leaves a folder that is there, or appears meanwhile, alone.

    Raises:
      FileExistsError: there is something at `path`, and it is not to be replaced.
    """
    target = os.path.abspath(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    workplace = tempfile.mkdtemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
    temporary = os.path.join(workplace, "new")
    try:
        os.mkdir(temporary)
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
        shutil.rmtree(workplace, ignore_errors=True)


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
