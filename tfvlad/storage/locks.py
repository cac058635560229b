"""The lock that lets one writer at a time into a folder, and tells the others who that is.

The folder of an index and the working folder of a sweep are locked so.
"""

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
    """Keeps every other writer out of a folder, in this process and in others, until the block or the process ends.

    Raises:
      ArtifactError: there is another writer already; the message says which process it is.
    """
    # The lock is an exclusive transaction on an empty SQLite database that serves nothing else. Every operating system
    # releases it when the process ends, and the catalog's own transactions can stay short.
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
    """Writes down which process is writing, for the messages of others; call it with the lock held.

    A killed process leaves its note behind. That does no harm: the note is only read while somebody holds the lock,
    and whoever takes the lock writes a new one.
    """
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
    """The note of the process that holds the lock, as one printable line."""
    try:
        with open(os.path.join(folder, _NAME), "rb") as file:
            name = file.read(_LONGEST_NAME).decode("utf-8", "replace")
    except OSError:
        name = ""  # it has the lock, and has not written its note yet
    return " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "another process"
