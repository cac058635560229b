"""What does the index cost beyond its graph, beside raw hnswlib and faiss with the same parameters?

    python benchmarks/index.py [--vectors 100000] [--json OUT] [--rounds 7] [--seed 0]

Building: linking ready descriptors and writing the graph to a file; ours reads them from the catalog, too.
Synchronising: ours finds, reads and hashes tiny files and writes a catalog as well; raw links and writes the same
descriptors. Searching: 1,000 queries at once, and one after the other; raw contenders give labels, ours paths. `ef` is
chosen by `Index.verify` for each target recall, then what an index has by default, and all contenders use it. Recall@10
is measured against exact search. Install ``tfvlad[bench]`` for faiss.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import numpy.typing as npt
import timing

from tfvlad.config import IndexConfig
from tfvlad.index import Hit, Index
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, Stamp, to_blob
from tfvlad.index.graph_backends import installed_backend
from tfvlad.index.ranking import search_exactly

DIM, QUERIES, ONE_BY_ONE, FILES = 128, 1000, 200, 20_000
TARGETS = (0.9, 0.99, 0.999)
CONFIG = IndexConfig()
SEED = 100  # of hnswlib's levels, as in tfvlad.index.graph
RAW, OURS = "raw hnswlib", "Index"

Floats = npt.NDArray[np.float32]
Search = Callable[[str, int, str, int, int], timing.Prepared]  # how, queries in a round, folder, ef, k
Ids = Callable[[Any], list[list[int]]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one task; `to_raw` is its time in raw hnswlib's, the median over rounds."""

    task: str
    name: str
    seconds: float
    to_raw: float
    recall: float | None


def main() -> None:
    parser = timing.parser(__doc__, rounds=7)
    parser.add_argument("--vectors", type=int, default=100_000)
    arguments = parser.parse_args()
    threads = timing.all_threads()[-1]
    rows: list[Row] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        vectors = clustered(arguments.vectors + QUERIES, arguments.seed)
        stored, queries = vectors[QUERIES:], vectors[:QUERIES]
        fill(Path(place), stored)
        np.save(f"{place}/vectors.npy", stored)
        np.save(f"{place}/queries.npy", queries)
        with contextlib.closing(Catalog(f"{place}/index")) as catalog, catalog.read() as snapshot:
            np.save(f"{place}/exact.npy", search_exactly(snapshot, queries, 10).images)

        def build(task: str, builders: dict[str, timing.Prepare]) -> None:
            built, left_out = timing.compare(builders, (place,), threads, rounds=1)
            seconds = {name: measured.quality["seconds"] for name, measured in built.items()}
            new = [Row(task, name, taken, taken / seconds[RAW], None) for name, taken in seconds.items()]
            cells = [(r.name, f"{r.seconds:.2f}", f"{r.to_raw:.2f}") for r in new]
            timing.print_table(f"{task}, {threads} threads", ("", "s", "to raw"), cells)
            rows.extend(new)
            missing.extend(left_out)

        build(f"building and saving {len(stored):,} x {DIM}", BUILDERS)
        build(f"synchronising {min(FILES, len(stored)):,} tiny files of ready descriptors", SYNCHRONISERS)

        def measure(task: str, how: str, count: int, rounds: int, contenders: dict[str, Search]) -> None:
            prepared = {name: functools.partial(search, how, count) for name, search in contenders.items()}
            timings, left_out = timing.compare(prepared, (place, ef, k), threads, rounds)
            new = [
                Row(task, name, measured.median / count, measured.ratio(timings[RAW]), measured.quality["recall"])
                for name, measured in timings.items()
            ]
            cells = [
                (r.name, f"{1e3 * r.seconds:.3f}", f"{1 / r.seconds:,.0f}", f"{r.to_raw:.2f}", f"{r.recall:.4f}")
                for r in new
            ]
            timing.print_table(task, ("", "ms/query", "queries/s", "to raw", "recall@10"), cells)
            rows.extend(new)
            missing.extend(left_out)

        for target in (*TARGETS, None):
            ef = choose(place, target)
            reason = "the default" if target is None else f"for recall {target:g}"
            for k in (10, 100) if target == TARGETS[-1] else (10,):
                settings = f"k={k}, ef {ef} {reason}"
                measure(f"{QUERIES} queries at once, {settings}", "batch", QUERIES, arguments.rounds, SEARCHES)
                measure(f"one query at a time, {settings}", "single", ONE_BY_ONE, arguments.rounds, SEARCHES)
        k, exact = 10, {RAW: search_raw, "Index, exact": search_exact}
        measure(f"exact search, {QUERIES} queries at once, k={k}", "batch", QUERIES, 3, exact)
        measure(f"exact search, one query at a time, k={k}", "single", 5, 3, exact)
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def clustered(n: int, seed: int) -> Floats:
    """(n, DIM) unit vectors around random centres of different spread, as descriptors of objects are."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((1000, DIM), dtype=np.float32)
    spread = generator.uniform(0.3, 1.2, (n, 1)).astype(np.float32)
    vectors = centres[generator.integers(len(centres), size=n)] + spread * generator.standard_normal(
        (n, DIM), np.float32
    )
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def fill(folder: Path, vectors: Floats) -> None:
    """Makes ``index``, whose catalog holds the vectors and whose graph is still to be built."""
    (folder / "photos").mkdir()
    (folder / "index").mkdir()
    catalog = Catalog.create(str(folder / "index"), "benchmark", DIM, CONFIG)
    with catalog.write() as change:
        root = change.put_root(Root(-1, str(folder / "photos"), "../photos"))
        for number, vector in enumerate(vectors):
            path, sha256 = f"{number // 1000:03}/{number:07}.jpg", number.to_bytes(32)
            change.put_file(root, path, Stamp(1, 1), sha256, [("whole", to_blob(vector))])
    catalog.close()


def choose(place: str, target: float | None) -> int:
    """Has the index search with the `ef` for a target, or with the default; tells which."""
    with Index.open(f"{place}/index") as index:
        if target is not None:
            return index.verify(target_recall=target).ef_search
    with contextlib.closing(Catalog(f"{place}/index")) as catalog, catalog.write() as change:
        change.put_ef_search(CONFIG.ef_search)
    return CONFIG.ef_search


def timed(build: Callable[[], object]) -> timing.Prepared:
    """A contender that works once, as a build takes long, and tells the seconds itself."""

    @functools.cache
    def run() -> float:
        start = time.perf_counter()
        build()
        return time.perf_counter() - start

    return run, lambda seconds: {"seconds": seconds}


def build_raw(place: str) -> timing.Prepared:
    return raw_builder(np.load(f"{place}/vectors.npy"), f"{place}/raw.hnsw")


def raw_builder(vectors: Floats, path: str) -> timing.Prepared:
    def build() -> None:
        graph = hnswlib.Index("ip", DIM)
        graph.init_index(len(vectors), CONFIG.m, CONFIG.ef_construction, SEED)
        graph.add_items(vectors)
        graph.save_index(path)

    return timed(build)


def build_ours(place: str) -> timing.Prepared:
    catalog = Catalog(f"{place}/index")

    def build() -> None:
        with catalog.sole_writer():
            GraphCache(catalog, installed_backend()).save()

    return timed(build)


def build_faiss(place: str) -> timing.Prepared:
    import faiss

    vectors = np.load(f"{place}/vectors.npy")

    def build() -> None:
        graph = faiss.IndexHNSWFlat(DIM, CONFIG.m, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = CONFIG.ef_construction
        graph.add(vectors)
        faiss.write_index(graph, f"{place}/faiss.hnsw")

    return timed(build)


class ReadyEncoder:
    """Has the descriptors already; a file holds the number of its own."""

    dim, fingerprint = DIM, "ready"

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors

    def save(self, path: str) -> None:
        Path(path).mkdir()

    def encode_stream(self, sources: Iterable[bytes]) -> Iterator[Floats]:
        return (self._vectors[int(content)] for content in sources)


def synchronise_raw(place: str) -> timing.Prepared:
    return raw_builder(np.load(f"{place}/vectors.npy")[:FILES], f"{place}/synchronised.hnsw")


def synchronise_ours(place: str) -> timing.Prepared:
    vectors, folder = np.load(f"{place}/vectors.npy")[:FILES], Path(place, "synchronised")
    for number in range(len(vectors)):
        path = folder / "photos" / f"{number // 1000:03}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    encoder: Any = ReadyEncoder(vectors)
    index = Index.create(folder / "index", encoder, local_features=0)
    return timed(lambda: index.sync(folder / "photos"))


def contender(how: str, count: int, place: str, search: Callable[[Floats], Any], ids: Ids) -> timing.Prepared:
    """Searches for all queries in one call, or for the next `count` in turn; `ids` tells what was found."""
    queries, exact = np.load(f"{place}/queries.npy"), np.load(f"{place}/exact.npy").tolist()
    if how == "batch":
        return lambda: search(queries), lambda found: {"recall": recall(ids(found), exact)}
    places = itertools.cycle(range(0, QUERIES, count))

    def run() -> list[Any]:
        start = next(places)
        return [search(queries[i : i + 1]) for i in range(start, start + count)]

    def judge(found: list[Any]) -> dict[str, float]:
        rows = [ids(one)[0] for one in found]
        for _ in range(count, min(QUERIES, 10 * count), count):  # every query once, before the clock runs
            rows += [ids(one)[0] for one in run()]
        return {"recall": recall(rows, exact[: len(rows)])}

    return run, judge


def recall(found: list[list[int]], exact: list[list[int]]) -> float:
    """Recall@10."""
    return float(np.mean([len(set(row[:10]) & set(best)) / len(best) for row, best in zip(found, exact, strict=True)]))


def search_raw(how: str, count: int, place: str, ef: int, k: int) -> timing.Prepared:
    graph = hnswlib.Index("ip", DIM)
    graph.load_index(f"{place}/raw.hnsw")
    graph.set_ef(max(k, ef))
    return contender(how, count, place, lambda queries: graph.knn_query(queries, k=k), lambda f: (f[0] + 1).tolist())


def search_ours(how: str, count: int, place: str, ef: int, k: int) -> timing.Prepared:
    index = Index.open(f"{place}/index")
    return contender(how, count, place, lambda queries: index.search_descriptors(queries, k), hit_ids)


def search_exact(how: str, count: int, place: str, ef: int, k: int) -> timing.Prepared:
    index = Index.open(f"{place}/index")
    return contender(how, count, place, lambda queries: index.search_descriptors(queries, k, exact=True), hit_ids)


def search_faiss(how: str, count: int, place: str, ef: int, k: int) -> timing.Prepared:
    import faiss

    graph = faiss.read_index(f"{place}/faiss.hnsw")
    graph.hnsw.efSearch = max(k, ef)
    return contender(how, count, place, lambda queries: graph.search(queries, k), lambda f: (f[1] + 1).tolist())


def hit_ids(found: list[list[Hit]]) -> list[list[int]]:
    return [[hit.id for hit in hits] for hits in found]


BUILDERS: dict[str, timing.Prepare] = {RAW: build_raw, OURS: build_ours, "faiss HNSW": build_faiss}
SYNCHRONISERS: dict[str, timing.Prepare] = {RAW: synchronise_raw, OURS: synchronise_ours}
SEARCHES: dict[str, Search] = {
    RAW: search_raw,
    OURS: search_ours,
    "faiss HNSW": search_faiss,
}

if __name__ == "__main__":
    main()
