"""One writer at a time: who may write to an index, and who it is that does."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import sqlite3
from collections.abc import Iterator

from tfvlad.errors import ArtifactError

_LOCK = "writer.lock"
_NAME = "writer.txt"
_LONGEST_NAME = 300  # bytes


@contextlib.contextmanager
def sole_writer(folder: str) -> Iterator[None]:
    """Keeps every other writer out of an index, in this process and in others, until the block or the process ends.

    Raises:
      ArtifactError: there is another writer already; says who.
    """
    # An exclusive transaction on an empty database of its own: a lock that is released with its process, on every
    # system, and that lets the catalog's own transactions stay short.
    try:
        with contextlib.closing(
            sqlite3.connect(os.path.join(folder, _LOCK), timeout=0, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            with _named(os.path.join(folder, _NAME)):
                yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            reason = f"is being written to already; try again when that is done ({_holder(folder)})"
            raise ArtifactError(folder, reason) from error
        raise ArtifactError(folder, f"cannot be written to: {error}") from error


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Leaves word of who is writing. It is only read while the lock is held, so a stale one does no harm."""
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} on {platform.node()}, since {now}\n")
    except OSError as error:
        raise ArtifactError(path, f"cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _holder(folder: str) -> str:
    try:
        with open(os.path.join(folder, _NAME), "rb") as file:
            name = file.read(_LONGEST_NAME).decode("utf-8", "replace")
    except OSError:
        name = ""  # it has the lock, and has not left word yet
    return " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "another process"
