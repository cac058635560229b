"""Connections to a catalog's file: opened as it can be, kept while idle, closed when that is asked for."""

from __future__ import annotations

import os
import sqlite3
import threading
import urllib.parse

_BUSY_SECONDS = 30


class Connections:
    """Connections to one file, lent to one user each."""

    def __init__(self, path: str) -> None:
        """Opens none yet."""
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def borrow(self) -> sqlite3.Connection:
        """The one that was given back last, or a new one; it is in no transaction.

        Raises:
          ValueError: they were closed.
        """
        with self._lock:
            if self._closed:
                raise ValueError(f"{os.path.dirname(self._path)} is closed")
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes what is idle now, and what is in use as it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        mode = "mode=rw"
        if not os.access(os.path.dirname(self._path), os.W_OK):
            # SQLite cannot place its shared memory beside a catalog on a read-only disk. Without a log that another
            # process writes to, nothing changes the file and none is needed.
            mode = "mode=ro" if os.path.exists(self._path + "-wal") else "mode=ro&immutable=1"
        uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(self._path)))}?{mode}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection
