"""Files and folders that appear whole or not at all: written beside their place, then renamed into it.

What a killed process leaves beside the place is cleared away by the next one that writes there. A temporary is locked
while its writer lives, so nobody else's is ever touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """Gives a temporary path beside `path`; what was written there replaces `path` when the block ends well."""
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
    """Clears away what killed processes left beside `path`, and puts back a folder that they had moved aside."""
    target = os.path.abspath(path)
    pattern = os.path.join(glob.escape(os.path.dirname(target)), glob.escape(_prefix(target)) + "?" * 8)
    for temporary in glob.glob(pattern):
        with contextlib.suppress(OSError), _locked(temporary):
            _put_back(temporary, target)
            _remove(temporary)


@contextlib.contextmanager
def _own(make: Callable[[], str]) -> Iterator[str]:
    """A temporary, locked; removed at the end, where it still is."""
    with contextlib.ExitStack() as stack:
        while True:
            temporary = make()
            try:
                stack.enter_context(_locked(temporary))
            except (BlockingIOError, FileNotFoundError):  # another process, clearing away, was quicker
                continue
            except OSError:  # a file system without locks, where nothing is ever cleared away
                pass
            break
        try:
            yield temporary
        finally:
            _remove(temporary)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Holds a file or folder.

    Raises:
      OSError: somebody else holds it, or it is gone.
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
    """Undoes a replacement that stopped half-way: the old folder aside, the new one not in its place yet."""
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
