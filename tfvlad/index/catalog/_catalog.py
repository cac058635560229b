"""The catalog's file: it is made, opened, checked and locked here, and its transactions begin and end here.

Any number of threads and processes may read while one writes, thanks to SQLite's write-ahead log. The queries are the
methods of `tfvlad.index.catalog.Snapshot` and `tfvlad.index.catalog.Change`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from collections.abc import Iterator

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.catalog._connections import Connections
from tfvlad.index.catalog._reading import Snapshot
from tfvlad.index.catalog._rows import Kept
from tfvlad.index.catalog._schema import FORMAT, check_schema, schema, setting
from tfvlad.index.catalog._vectors_file import VectorsFile, VectorsRow
from tfvlad.index.catalog._writing import Change
from tfvlad.storage.locks import sole_writer
from tfvlad.storage.untrusted import refuse_links

_CATALOG = "catalog.sqlite"
_WORTH_A_FILE = 10_000  # descriptors; SQLite hands out fewer in hundredths of a second
_BLOCK = 4096  # descriptors that are copied into the file at a time


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
        self._connections = Connections(self.path)
        self._watching = Connections(self.path)
        try:
            meta = self._read_meta()
            self.fingerprint = meta["fingerprint"]
            self.dim = setting(meta, "dim")
            self.config = IndexConfig(**{name: setting(meta, name) for name in ("m", "ef_construction", "ef_search")})
            self._vectors = VectorsFile(folder, self.dim)
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
            connection.executescript(schema(FORMAT))
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [(key, str(value)) for key, value in meta.items()])
            connection.commit()
        return cls(folder)

    @contextlib.contextmanager
    def read(self) -> Iterator[Snapshot]:
        """Opens a consistent state of the catalog for reading; it stays the same, whatever is written meanwhile."""
        with self._transaction("BEGIN") as connection:
            yield Snapshot(connection, self.path, self.dim, self._vectors)

    @contextlib.contextmanager
    def watch(self) -> Iterator[Snapshot]:
        """Like `read`, always through the same connection, so that versions of its snapshots can be compared.

        One thread at a time may use it.
        """
        with self._transaction("BEGIN", self._watching) as connection:
            yield Snapshot(connection, self.path, self.dim, self._vectors)

    @contextlib.contextmanager
    def write(self) -> Iterator[Change]:
        """Opens a change; it is committed when the block ends, and undone when an exception leaves the block."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield Change(connection, self.path, self.dim, self._vectors)

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Keeps every other writer out, see `tfvlad.storage.locks.sole_writer`."""
        with sole_writer(self.folder):
            yield

    def save_vectors(self) -> None:
        """Brings the file of descriptors in line with the catalog; the caller must be the sole writer.

        Raises:
          ArtifactError: the file cannot be written.
        """
        with self.read() as snapshot:
            state, count, row = snapshot.state(), snapshot.count_descriptors(), snapshot.vectors_row()
            if row is not None and row.state == state and self._vectors.stands_for(count):
                return
            if count >= _WORTH_A_FILE:
                row = VectorsRow(self._vectors.write(snapshot.blocks(_BLOCK), count), state)
            elif row is None:
                return
            else:
                self._vectors.remove()
                row = None
        with self.write() as change:
            change.put_vectors(row)

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
    def _transaction(self, begin: str, connections: Connections | None = None) -> Iterator[sqlite3.Connection]:
        try:
            with (connections or self._connections).lend() as connection:
                try:
                    connection.execute(begin)
                    yield connection
                    connection.commit()
                finally:
                    connection.rollback()  # nothing is left to roll back after a commit
        except sqlite3.DatabaseError as error:
            raise ArtifactError(self.path, str(error)) from error
