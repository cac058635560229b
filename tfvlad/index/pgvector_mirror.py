"""The mirror in PostgreSQL with the extension pgvector (https://github.com/pgvector/pgvector).

A table has the descriptors under their ids, their images and views; the mark is the table's comment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from tfvlad.config import IndexConfig
from tfvlad.errors import ConfigError, ServingError
from tfvlad.index.mirror import SECONDS, Rows, without_password

_MOST_DIM = 2000  # of an index of pgvector's
_MOST_EF = 1000  # likewise
_MOST_CONSTRUCTION = 1000


class PgvectorMirror:
    """A `tfvlad.index.mirror.Mirror` in PostgreSQL.

    Args:
      url: see `tfvlad.index.mirror.mirror_maker`.
      collection: the table's name.
      dim: length of a vector.
      config: how the graph is built.

    Raises:
      ConfigError: pgvector's index takes no vectors of this length.
      ServingError: there is no PostgreSQL, or one without pgvector.
    """

    def __init__(self, url: str, collection: str, dim: int, config: IndexConfig) -> None:
        if dim > _MOST_DIM:
            raise ConfigError(f"pgvector indexes vectors of {_MOST_DIM} dimensions at most, and these have {dim}")
        self._shown, self._dim, self._config = without_password(url), dim, config
        self._name, self._table = collection, sql.Identifier(collection)
        with self._told():
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=int(SECONDS))
            self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def mark(self) -> str | None:
        row = self._run(
            "SELECT obj_description(to_regclass({name}), 'pg_class')", name=sql.Literal(self._name)
        ).fetchone()
        return row[0] if row else None

    def set_mark(self, mark: str) -> None:
        self._run(
            "CREATE INDEX IF NOT EXISTS {index} ON {table} USING hnsw (vector vector_ip_ops) "
            "WITH (m = {m}, ef_construction = {construction})",
            index=sql.Identifier(f"{self._name}_hnsw"),
            m=sql.Literal(min(max(self._config.m, 2), 100)),
            construction=sql.Literal(min(max(self._config.ef_construction, 2 * self._config.m, 4), _MOST_CONSTRUCTION)),
        )  # after the first rows: that is faster than to keep it up to date while they come
        self._run("COMMENT ON TABLE {table} IS {mark}", mark=sql.Literal(mark))

    def clear(self) -> None:
        with self._told(), self._connection.transaction():
            self._run("DROP TABLE IF EXISTS {table}")
            self._run(
                "CREATE TABLE {table} (label bigint PRIMARY KEY, image bigint, view text, vector vector({dim}))",
                dim=sql.Literal(self._dim),
            )

    def __len__(self) -> int:
        row = self._run("SELECT count(*) FROM {table}").fetchone()
        return int(row[0]) if row else 0

    def add(self, rows: Rows) -> None:
        columns = zip(rows.labels.tolist(), rows.images.tolist(), rows.views, map(_text, rows.vectors), strict=True)
        with self._told(), self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE coming (label bigint, image bigint, view text, vector text) ON COMMIT DROP"
            )
            with cursor.copy("COPY coming FROM STDIN") as copy:
                for row in columns:
                    copy.write_row(row)
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {table} SELECT label, image, view, vector::vector FROM coming ON CONFLICT (label) DO "
                    "UPDATE SET image = excluded.image, view = excluded.view, vector = excluded.vector"
                ).format(table=self._table)
            )

    def remove(self, labels: NDArray[np.int64]) -> None:
        self._run("DELETE FROM {table} WHERE label = ANY(%s)", (labels.tolist(),))

    def search(
        self, queries: NDArray[np.float32], k: int, ef_search: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        found = []
        with self._told(), self._connection.transaction():
            self._run("SET LOCAL hnsw.ef_search = {ef}", ef=sql.Literal(min(max(k, ef_search), _MOST_EF)))
            self._run("SET LOCAL hnsw.iterative_scan = strict_order")  # for more than ef_search
            self._run("SET LOCAL enable_seqscan = off")
            for query in queries:
                rows = self._run(
                    "SELECT -(vector <#> %s::vector), label FROM {table} ORDER BY vector <#> %s::vector LIMIT %s",
                    (_text(query), _text(query), k),
                ).fetchall()
                if len(rows) < k:
                    return None
                found.append(rows)
        scores = np.array([[score for score, _ in rows] for rows in found], np.float32)
        return scores, np.array([[label for _, label in rows] for rows in found], np.int64)

    def close(self) -> None:
        self._connection.close()

    def _run(self, query: str, values: tuple[Any, ...] | None = None, **parts: sql.Composable) -> Any:
        """Runs a statement, in which ``{table}`` and the parts stand for what is quoted as SQL needs it."""
        with self._told():
            return self._connection.execute(sql.SQL(query).format(table=self._table, **parts), values)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            said = " ".join(str(error).split())[:200]
            raise ServingError(f"{self._shown}: PostgreSQL with pgvector cannot be used: {said}") from None


def _text(vector: NDArray[np.float32]) -> str:
    return f"[{','.join(map(repr, vector.tolist()))}]"
