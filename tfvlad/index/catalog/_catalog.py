"""The catalog's file: it is made, opened, checked and locked here, and its transactions begin and end here.

Any number of threads and processes may read while one writes, thanks to SQLite's write-ahead log. The queries are the
methods of `tfvlad.index.catalog.Snapshot` and `tfvlad.index.catalog.Change`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.catalog._reading import Snapshot
from tfvlad.index.catalog._rows import Kept
from tfvlad.index.catalog._schema import FORMAT, SCHEMA, check_schema, setting
from tfvlad.index.catalog._writing import Change
from tfvlad.storage.locks import sole_writer
from tfvlad.storage.untrusted import refuse_links

_CATALOG = "catalog.sqlite"
_BUSY_SECONDS = 30


class Catalog:
    """The catalog of one index folder.

    Attributes:
      folder: the index folder.
      path: the SQLite file in it.
      fingerprint: the fingerprint of the encoder that made every descriptor.
      dim: length of a descriptor.
      config: how the graph is built and searched. Its `ef_search` is the one that was stored when the catalog was
        opened; `Snapshot.ef_search` gives the present one.
    """

    def __init__(self, folder: str) -> None:
        """Opens the catalog of an index folder.

        Raises:
          ArtifactError: the folder is missing, is no index, or is of a newer format.
        """
        self.folder = folder
        self.path = os.path.join(folder, _CATALOG)
        if not os.path.isfile(self.path):
            raise ArtifactError(folder, f"is not an index: there is no file {_CATALOG} in it")
        refuse_links(folder)
        self._connections = _Connections(self.path)
        self._watching = _Connections(self.path)
        try:
            meta = self._read_meta()
            self.fingerprint = meta["fingerprint"]
            self.dim = setting(meta, "dim")
            self.config = IndexConfig(**{name: setting(meta, name) for name in ("m", "ef_construction", "ef_search")})
        except (KeyError, ValueError) as error:
            self.close()
            raise ArtifactError(self.path, f"is damaged: its settings are incomplete ({error})") from error
        except ArtifactError:
            self.close()
            raise

    @classmethod
    def create(cls, folder: str, fingerprint: str, dim: int, config: IndexConfig, kept: Kept | None = None) -> Catalog:
        """Writes an empty catalog into an existing folder, and opens it."""
        settings = {"fingerprint": fingerprint, "dim": dim, **dataclasses.asdict(config)}
        meta = {"format": FORMAT, **settings, **dataclasses.asdict(kept or Kept())}
        with contextlib.closing(sqlite3.connect(os.path.join(folder, _CATALOG))) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])
            connection.commit()
        return cls(folder)

    @contextlib.contextmanager
    def read(self) -> Iterator[Snapshot]:
        """Opens a consistent state of the catalog for reading; it stays the same, whatever is written meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield Snapshot(connection, self.path, self.dim)

    @contextlib.contextmanager
    def watch(self) -> Iterator[Snapshot]:
        """Like `read`, always through the same connection, so that versions of its snapshots can be compared.

        One thread at a time may use it.
        """
        with self._transaction("BEGIN", self._watching) as connection:
            yield Snapshot(connection, self.path, self.dim)

    @contextlib.contextmanager
    def write(self) -> Iterator[Change]:
        """Opens a change; it is committed when the block ends, and undone when an exception leaves the block."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield Change(connection, self.path, self.dim)

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Keeps every other writer out, see `tfvlad.storage.locks.sole_writer`."""
        with sole_writer(self.folder):
            yield

    def close(self) -> None:
        """Closes the idle connections now, and each busy one when its transaction ends."""
        self._connections.close()
        self._watching.close()

    def _read_meta(self) -> dict[str, str]:
        with self._transaction("BEGIN") as connection:
            try:
                meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
                version = int(meta["format"])
            except (sqlite3.DatabaseError, KeyError, ValueError) as error:
                raise ArtifactError(self.path, f"is not the catalog of an index ({error})") from error
        if version < 1:
            raise ArtifactError(self.path, f"is not the catalog of an index: it is of format {version}")
        if version > FORMAT:
            reason = (
                f"is of format {version}, newer than the format {FORMAT} that this tfvlad reads; install a newer one"
            )
            raise ArtifactError(self.folder, reason)
        with self._transaction("BEGIN") as connection:
            check_schema(connection, self.path, version)
        return meta

    @contextlib.contextmanager
    def _transaction(self, begin: str, connections: _Connections | None = None) -> Iterator[sqlite3.Connection]:
        connections = connections or self._connections
        connection = None
        try:
            connection = connections.borrow()
            connection.execute(begin)
            yield connection
            connection.commit()
        except sqlite3.DatabaseError as error:
            raise ArtifactError(self.path, str(error)) from error
        finally:
            if connection is not None:
                connection.rollback()  # nothing is left to roll back after a commit
                connections.give_back(connection)


class _Connections:
    """Connections to the catalog's file, each lent to one user at a time; opened when needed, and kept while idle."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def borrow(self) -> sqlite3.Connection:
        """Lends the connection that was given back last, or a new one; it is in no transaction.

        Raises:
          ValueError: the catalog was closed.
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
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        mode = "mode=rw"
        if not os.access(os.path.dirname(self._path), os.W_OK):
            # On a read-only disk SQLite cannot create its shared memory beside the file. It does without ("immutable")
            # where there is no write-ahead log, because nothing changes the file then.
            mode = "mode=ro" if os.path.exists(self._path + "-wal") else "mode=ro&immutable=1"
        uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(self._path)))}?{mode}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection
