"""Which library for the graph? hnswlib and voyager as the index uses them, beside usearch and faiss-cpu.

    python benchmarks/graphs.py [--json OUT] [--rounds 3] [--vectors 50000] [--dim 128] [--removed 0.2]

The vectors are clustered like descriptors: points around shared directions. Each library builds a graph of the same
settings (M 16, ef_construction 200) on the same threads, answers the same queries at the same ef, gives up some of its
vectors, answers again, and writes its file. They take turns; the figures are medians over the rounds. Recall is that of
the ten nearest, against all cosines; hits that were removed are counted.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import random
import tempfile
import time
from typing import Any

import numpy as np
import timing
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.index.graph_backends import backend_of

CONFIG = IndexConfig()
QUERIES, K = 1000, 10
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclasses.dataclass
class Row:
    """What one library did: seconds, recall@10 of both searches, hits that had been removed, and MiB of its file."""

    library: str
    build: float
    search: float
    recall: float
    search_removed: float
    recall_removed: float
    wrong: float
    file_mib: float


class Usearch:
    """A graph by usearch, with the methods of `tfvlad.index.graph.Graph` that are measured."""

    def __init__(self, dim: int, capacity: int) -> None:
        from usearch.index import Index

        self._index = Index(
            ndim=dim, metric="ip", dtype="f32", connectivity=CONFIG.m, expansion_add=CONFIG.ef_construction,
            expansion_search=CONFIG.ef_search,
        )  # fmt: skip

    def add(self, labels: Labels, vectors: Floats) -> None:
        self._index.add(labels, vectors)

    def remove(self, labels: Labels) -> None:
        self._index.remove(labels)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Labels]:
        found = self._index.search(queries, k)
        return 1 - found.distances, found.keys.astype(np.int64)

    def save(self, path: str) -> None:
        self._index.save(path)


class Faiss:
    """A graph by faiss-cpu, which cannot remove vectors from one."""

    def __init__(self, dim: int, capacity: int) -> None:
        import faiss

        self._faiss = faiss
        self._index = faiss.IndexHNSWFlat(dim, CONFIG.m, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction, self._index.hnsw.efSearch = CONFIG.ef_construction, CONFIG.ef_search

    def add(self, labels: Labels, vectors: Floats) -> None:
        self._index.add(vectors)

    def search(self, queries: Floats, k: int) -> Any:
        return self._index.search(queries, k)

    def save(self, path: str) -> None:
        self._faiss.write_index(self._index, path)


def _make(library: str, dim: int, capacity: int) -> Any:
    if library in ("hnswlib", "voyager"):
        return backend_of(library).make(dim, CONFIG, capacity)
    return {"usearch": Usearch, "faiss": Faiss}[library](dim, capacity)


def clustered(count: int, dim: int, seed: int) -> Floats:
    """Unit vectors around shared directions, one for each 50 of 50,000."""
    directions = np.random.default_rng(0).normal(size=(1000, dim))
    rng = np.random.default_rng(seed)
    vectors = directions[rng.integers(0, len(directions), count)] + 0.6 * rng.normal(size=(count, dim))
    return np.float32(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class Work:
    """What each library is given, and the right answers.

    Args:
      count: the number of vectors.
      dim: numbers in each.
      share: of the vectors that are removed.
    """

    def __init__(self, count: int, dim: int, share: float) -> None:
        self.vectors, self.queries = clustered(count, dim, 1), clustered(QUERIES, dim, 2)
        self.removed = np.random.default_rng(3).permutation(count)[: int(share * count)]
        cosines = self.queries @ self.vectors.T
        self.best = np.argsort(-cosines)[:, :K]
        cosines[:, self.removed] = -2
        self.best_left = np.argsort(-cosines)[:, :K]

    def give(self, library: str) -> Row:
        """Has a library do it all once."""
        graph = _make(library, self.vectors.shape[1], len(self.vectors))
        start = time.perf_counter()
        graph.add(np.arange(len(self.vectors)), self.vectors)
        build = time.perf_counter() - start
        search, found = self._search(graph)
        again, left = np.nan, np.zeros((QUERIES, 0), np.int64)
        if hasattr(graph, "remove"):
            graph.remove(self.removed)
            again, left = self._search(graph)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "graph")
            graph.save(path)
            size = os.path.getsize(path) / 2**20
        wrong = int(np.isin(left, self.removed).sum())
        recalls = _recall(found, self.best), _recall(left, self.best_left)
        return Row(library, build, search, recalls[0], again, recalls[1], wrong, size)

    def _search(self, graph: Any) -> tuple[float, Labels]:
        start = time.perf_counter()
        found = graph.search(self.queries, K)
        return time.perf_counter() - start, found[1]


def _recall(found: Labels, best: Labels) -> float:
    rows = zip(found.tolist(), best.tolist(), strict=True)
    return float(np.mean([len(set(row) & set(right)) / K for row, right in rows]))


def main() -> None:
    """Prints the table."""
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--vectors", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--removed", type=float, default=0.2)
    arguments = parser.parse_args()
    there, missing = [], []
    for library in ("hnswlib", "voyager", "usearch", "faiss"):
        try:
            importlib.import_module(library)
        except ImportError:
            missing.append(library)
        else:
            there.append(library)
    given, rounds = Work(arguments.vectors, arguments.dim, arguments.removed), []
    for number in range(arguments.rounds):
        random.Random(number).shuffle(there)
        rounds.append({library: dataclasses.astuple(given.give(library))[1:] for library in there})
    rows = [Row(library, *np.median([done[library] for done in rounds], axis=0).tolist()) for library in sorted(there)]
    fields = [field.name for field in dataclasses.fields(Row)]
    timing.print_table(
        f"{arguments.vectors:,} vectors of {arguments.dim}, {QUERIES:,} queries, seconds",
        fields,
        [[f"{value:.4g}" if isinstance(value, float) else value for value in dataclasses.astuple(row)] for row in rows],
    )
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


if __name__ == "__main__":
    main()
