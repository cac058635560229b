"""Connections to the catalog's file: opened when they are needed, kept while idle, each showing whole states only.

A process that may write the index folder leaves everything to SQLite: its write-ahead log (``-wal``) and its locks give
each transaction one state. A process that may not write it has two ways, by what lies in the folder:

- Where there is a log, somebody may be writing. The file is read together with the log, under SQLite's locks, for which
  it is enough that the file and those beside it can be read.
- Where there is no log, nobody is writing, but SQLite refuses to read, because it cannot create a log. It is told then
  that the file never changes, and whether that is so is checked here: such a connection is *sealed* with the file's
  inode, size and times. They are compared before and after each transaction. What was read from a file that changed
  meanwhile ends in `ChangedWhileReadError`, and the next transaction opens the file anew.

Nothing but SQLite may open the file: to close it would give up all locks that this process holds on it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

from tfvlad.errors import ArtifactError

_BUSY_SECONDS = 30
_PATIENCE = 2.0  # seconds for a writer that is just coming or going
_TICK = 0.02  # seconds, longer than a tick of any file system's clock


class ChangedWhileReadError(ArtifactError):
    """The catalog was changed while it was read without locks, so what was read may be of two states; read it again."""


class Seal(NamedTuple):
    """What tells a file from a changed one."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: str) -> Seal:
        try:
            return cls.from_status(os.stat(path))
        except OSError as error:
            raise ArtifactError(path, f"cannot be read: {error.strerror}") from error

    @classmethod
    def from_status(cls, status: os.stat_result) -> Seal:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_fresh(self) -> bool:
        """Whether the file was changed in this very tick of the clock; another change would leave the same times."""
        return 0 <= time.time_ns() - max(self.mtime_ns, self.ctime_ns) < _TICK * 1e9


class Connection(sqlite3.Connection):
    """A connection to the catalog's file.

    Attributes:
      may_write: whether this process may write the file, and create files beside it.
      seal: what the file must still be; None where locks keep its states apart.
    """

    may_write = False
    seal: Seal | None = None


class Connections:
    """Connections to one file, each lent to one user at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lends the connection that was given back last, or a new one; it is in no transaction.

        Raises:
          ValueError: the catalog was closed.
          ArtifactError: the file cannot be read.
          ChangedWhileReadError: somebody changed the file before the block ended, and this process could not lock it.
        """
        connection = self._borrow()
        try:
            yield connection
            self._check(connection)
        except Exception:  # half of a change can look like anything
            self._check(connection)
            raise
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Closes the idle connections now, and each lent one when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _borrow(self) -> Connection:
        while True:
            with self._lock:
                if self._closed:
                    raise ValueError(f"{os.path.dirname(self._path)} is closed")
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect()
            if self._is_usable(connection):
                return connection
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _is_usable(self, connection: Connection) -> bool:
        if connection.may_write:
            return True
        if connection.seal is not None:
            return connection.seal == Seal.of(self._path) and not self._has_log()
        try:
            _read_something(connection)
        except sqlite3.OperationalError:  # a writer was killed; with a new connection SQLite can read what it left
            return False
        return True

    def _check(self, connection: Connection) -> None:
        if connection.seal is not None and connection.seal != Seal.of(self._path):
            raise ChangedWhileReadError(self._path, "was changed while it was read; try again")

    def _connect(self) -> Connection:
        if os.access(os.path.dirname(self._path), os.W_OK) and os.access(self._path, os.W_OK):
            connection = self._open("mode=rw")
            connection.may_write = True
            return connection
        deadline = time.monotonic() + _PATIENCE
        while True:
            seal = Seal.of(self._path)  # the log is looked for afterwards, and no writer changes the file without one
            problem = "somebody changes it all the time"
            if self._has_log():
                connection = self._open("mode=ro")
                try:
                    _read_something(connection)
                    return connection
                except sqlite3.OperationalError as error:
                    connection.close()
                    problem = str(error)
            elif not seal.is_fresh():
                connection = self._open("mode=ro&immutable=1")
                connection.seal = seal
                return connection
            if time.monotonic() > deadline:
                rule = "cannot be read by a user who may not write its folder, until one who may has opened it"
                raise ArtifactError(self._path, f"{rule} ({problem})")
            time.sleep(_TICK)

    def _has_log(self) -> bool:
        """Whether a log with something in it lies beside the file; a change is in it before it is in the file."""
        for suffix in ("-wal", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self._path + suffix).st_size:
                    return True
        return False

    def _open(self, mode: str) -> Connection:
        uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(self._path)))}?{mode}"
        try:
            connection = sqlite3.connect(
                uri,
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                factory=Connection,
            )
        except sqlite3.OperationalError as error:
            reason = str(error) if os.access(self._path, os.R_OK) else "Permission denied"
            raise ArtifactError(self._path, f"cannot be read: {reason}") from error
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


def _read_something(connection: sqlite3.Connection) -> None:
    """Opens the file and its log, which SQLite puts off until something is read."""
    connection.execute("PRAGMA schema_version").fetchone()
