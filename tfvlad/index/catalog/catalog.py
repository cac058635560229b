"""The catalog: one SQLite file that is the truth of an index. Its transactions and the writer's lock.

Any number of threads and processes may read while one writes (SQLite's write-ahead log). The queries are in
`tfvlad.index.catalog.reading`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from collections.abc import Iterator

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.catalog.connections import Connections
from tfvlad.index.catalog.reading import Snapshot, Version, version_of
from tfvlad.index.catalog.schema import FORMAT, SCHEMA, check_schema, setting
from tfvlad.index.catalog.writing import Change
from tfvlad.storage.inspection import refuse_links
from tfvlad.storage.locks import sole_writer

_CATALOG = "catalog.sqlite"


class Catalog:
    """The catalog of one index folder.

    Attributes:
      folder: the index folder.
      fingerprint: of the encoder that every descriptor comes from.
      dim: length of a descriptor.
      config: how the graph is built and, as the catalog said when it was opened, searched.
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
        self._connections = Connections(self.path)
        self._watching = Connections(self.path)
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
    def create(cls, folder: str, fingerprint: str, dim: int, config: IndexConfig) -> Catalog:
        """Writes an empty catalog into an existing folder, and opens it."""
        meta = {"format": FORMAT, "fingerprint": fingerprint, "dim": dim, **dataclasses.asdict(config)}
        with contextlib.closing(sqlite3.connect(os.path.join(folder, _CATALOG))) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])
            connection.commit()
        return cls(folder)

    @contextlib.contextmanager
    def read(self) -> Iterator[Snapshot]:
        """One consistent state of the catalog, whatever is written meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield Snapshot(connection, self.path, self.dim)

    @contextlib.contextmanager
    def watch(self) -> Iterator[Snapshot]:
        """Like `read`; `version` gives its version as long as nothing changes. For one thread at a time."""
        with self._transaction("BEGIN", self._watching) as connection:
            yield Snapshot(connection, self.path, self.dim)

    def version(self) -> Version:
        """The version of now, comparable with those in `watch`, without a transaction. For one thread at a time."""
        connection = self._watching.borrow()
        try:
            return version_of(connection)
        except sqlite3.DatabaseError as error:
            raise ArtifactError(self.path, str(error)) from error
        finally:
            self._watching.give_back(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[Change]:
        """One change, committed at the end, or not at all where an exception leaves the block."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield Change(connection, self.path, self.dim)

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Keeps every other writer out, in this process and in others, until the block ends or the process dies.

        Raises:
          ArtifactError: there is another writer already; says who.
        """
        with sole_writer(self.folder):
            yield

    def close(self) -> None:
        """Closes what is idle now, and what is in use as it is given back."""
        self._connections.close()
        self._watching.close()

    def _read_meta(self) -> dict[str, str]:
        with self._transaction("BEGIN") as connection:
            try:
                meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
                version = int(meta["format"])
            except (sqlite3.DatabaseError, KeyError, ValueError) as error:
                raise ArtifactError(self.path, f"is not the catalog of an index ({error})") from error
        if version > FORMAT:
            reason = (
                f"is of format {version}, newer than the format {FORMAT} that this tfvlad reads; install a newer one"
            )
            raise ArtifactError(self.folder, reason)
        with self._transaction("BEGIN") as connection:
            check_schema(connection, self.path)
        return meta

    @contextlib.contextmanager
    def _transaction(self, begin: str, connections: Connections | None = None) -> Iterator[sqlite3.Connection]:
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
