"""How long does a whole search take beyond the network's forward pass, and what memory does it need?

    python benchmarks/searching.py [--images 10000 100000] [--json OUT] [--rounds 9] [--seed 0]

An index is made without pictures: 256-D descriptors around 1,000 centres, and 512 local features of 64-D for each
image, which are one of a few prototypes with as much noise. A query has 24 views (eight turns, three scales) and 600
local features for each turn, those of one image with a little noise; 50 images are verified. Prints for all threads the
median time, on the clock and of all threads' CPU, of a whole search and of its parts, and their ratio to OpenCV's
brute-force matcher on the same cells; the share of the exact shortlist of 50 that the graph finds; the share of queries
whose image is the first hit; the memory of opening the index and of the first search, beside the graph's file. A
hundred thousand images take 4 GB of disk. Install OpenCV (``pip install opencv-python-headless``) for the ratios.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import timing
from verification import opencv_matcher, unit

from tfvlad.config import LOCAL_DIMENSIONS, LOCAL_FEATURES, QUERY_CELLS, QUERY_VIEWS, VERIFIED, IndexConfig
from tfvlad.images.views import parse_views
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index._hits import in_order
from tfvlad.index._search import Searcher
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, EncodedView, Kept, Stamp, to_blob
from tfvlad.index.graph_backends import installed_backend
from tfvlad.index.reranking import Query
from tfvlad.index.verification import Verification, method
from tfvlad.matching.local_features import SCALE, LocalFeatures

DIM, CENTRES, PROTOTYPES, QUERIES, HITS = 256, 1000, 8, 20, 10
SIDE = 28  # cells, of a map
BATCH = 5000  # images that are written at once
MATCHER = "OpenCV, brute force"
WHOLE = "the whole search"
VIEWS = parse_views(QUERY_VIEWS)

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Row:
    """One part of a search in an index of so many images; the figures of quality are as in the module's text."""

    images: int
    name: str
    ms: float
    cpu_ms: float
    to_matcher: float | None
    memory_mib: float | None
    graph_mib: float | None
    recall: float | None
    found: float | None


def main() -> None:
    parser = timing.parser(__doc__, rounds=9)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000], help="sizes of the index (10000)")
    arguments = parser.parse_args()
    threads = timing.all_threads()[-1]
    rows: list[Row] = []
    missing: list[str] = []
    for images in arguments.images:
        with tempfile.TemporaryDirectory() as place:
            make_index(place, images, arguments.seed)
            timings, absent = timing.compare(PARTS, (place,), threads, arguments.rounds)
        missing += absent
        found = [
            Row(
                images,
                name,
                ms=taken.median * 1e3,
                cpu_ms=float(np.median(taken.cpu_seconds)) * 1e3,
                to_matcher=taken.ratio(timings[MATCHER]) if MATCHER in timings else None,
                memory_mib=taken.peak_bytes / 2**20 if name == WHOLE else None,
                graph_mib=taken.quality.get("graph"),
                recall=taken.quality.get("recall"),
                found=taken.quality.get("found"),
            )
            for name, taken in timings.items()
        ]
        print_rows(found, threads)
        rows += found
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def make_index(place: str, images: int, seed: int) -> None:
    """Writes a catalog of so many images with its graph, and ``queries.npz``."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((CENTRES, DIM), dtype=np.float32)
    prototypes = unit(generator.standard_normal((PROTOTYPES, LOCAL_FEATURES, LOCAL_DIMENSIONS), dtype=np.float32))
    targets = generator.choice(images, QUERIES, replace=False)
    asked: dict[int, tuple[Floats, npt.NDArray[np.float32], npt.NDArray[np.int8]]] = {}
    kept = Kept("whole", LOCAL_FEATURES)
    with contextlib.closing(Catalog.create(place, "benchmark", DIM, IndexConfig(), kept)) as catalog:
        for start in range(0, images, BATCH):
            count = min(BATCH, images - start)
            spread = generator.uniform(0.3, 1.2, (count, 1)).astype(np.float32)
            noise = generator.standard_normal((count, DIM), dtype=np.float32)
            vectors = unit(centres[generator.integers(CENTRES, size=count)] + spread * noise).astype(np.float32)
            with catalog.write() as change:
                root = change.put_root(Root(1 if start else -1, "/nowhere", "../nowhere"))
                for number, vector in enumerate(vectors, start):
                    features = draw_features(prototypes[number % PROTOTYPES], generator)
                    path, sha256 = f"{number // 1000:03}/{number:07}.jpg", number.to_bytes(32, "big")
                    views = [EncodedView("whole", to_blob(vector))]
                    change.put_file(root, path, Stamp(1, 1), sha256, views, features.to_bytes())
                    if number in targets:
                        asked[number] = vector, features.positions, features.descriptors
                hubness = generator.normal(0.4, 0.05, count).tolist()
                change.put_hubness(dict(enumerate(hubness, start + 1)), images)
        with catalog.sole_writer():
            GraphCache(catalog, installed_backend()).save()
    vectors, positions, descriptors = (np.stack(arrays) for arrays in zip(*asked.values(), strict=True))
    # One view is near the image, the others are farther from it the more they are turned.
    farther = np.linspace(0.5, 2, len(VIEWS), dtype=np.float32)[:, None] / np.sqrt(np.float32(DIM))
    noise = generator.standard_normal((QUERIES, len(VIEWS), DIM), dtype=np.float32)
    np.savez(
        f"{place}/queries.npz",
        targets=np.array(list(asked)) + 1,  # ids
        vectors=unit(vectors[:, None] + farther * noise).astype(np.float32),
        positions=positions,
        descriptors=descriptors,
        seed=seed,
    )


def draw_features(prototype: Floats, generator: np.random.Generator) -> LocalFeatures:
    """Local features of a picture that is like a prototype, at other places."""
    noise = generator.standard_normal(prototype.shape, dtype=np.float32) / np.sqrt(np.float32(LOCAL_DIMENSIONS))
    cells = generator.permutation(SIDE * SIDE)[: len(prototype)]
    return features_at(np.stack([cells % SIDE, cells // SIDE], axis=1), unit(prototype + noise))


def features_at(cells: npt.NDArray[Any], vectors: npt.NDArray[Any]) -> LocalFeatures:
    positions = ((cells + 0.5) / SIDE).astype(np.float32)
    return LocalFeatures(positions, np.rint(SCALE * vectors).astype(np.int8), (1 / SIDE, 1 / SIDE), (640, 480))


def read_queries(place: str) -> tuple[list[Query], list[int]]:
    """The queries, and the image that is the answer to each."""
    with np.load(f"{place}/queries.npz") as stored:
        generator = np.random.default_rng(int(stored["seed"]) + 1)
        queries = []
        for vectors, positions, descriptors in zip(
            stored["vectors"], stored["positions"], stored["descriptors"], strict=True
        ):
            more = QUERY_CELLS - len(descriptors)
            noise = generator.standard_normal(descriptors.shape) / np.sqrt(LOCAL_DIMENSIONS)
            known = unit(descriptors / SCALE + 0.3 * noise)
            others = unit(generator.standard_normal((more, LOCAL_DIMENSIONS)))
            cells = np.concatenate([positions * SIDE - 0.5, generator.integers(SIDE, size=(more, 2))])
            features = features_at(cells, np.concatenate([known, others]))
            turns = dict.fromkeys([view.turn for view in VIEWS], features)
            queries.append(Query(vectors, VIEWS, features=turns))
        return queries, stored["targets"].tolist()


class _Opened:
    """An index that is opened when it is first used."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.queries, self.targets = read_queries(place)
        self.verification = Verification(VERIFIED, method("cells"), lambda paths: [None for _ in paths])

    @functools.cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.place)

    @functools.cached_property
    def searcher(self) -> Searcher:
        return Searcher(self.catalog, GraphCache(self.catalog, installed_backend()), self.place)

    def shortlist(self, query: Query, exact: bool = False) -> Any:
        """The candidates of a query, and their files."""
        [candidates], files = self.searcher._candidates([query], VERIFIED, exact, correct=True)
        return candidates, files

    def in_turn(self, work: Callable[..., object], inputs: Sequence[tuple[Any, ...]]) -> Callable[[], object]:
        """Does the work for the next of the inputs at every call."""
        following = itertools.cycle(inputs)
        return lambda: work(*next(following))


def whole_search(place: str) -> timing.Prepared:
    opened = _Opened(place)

    def find(query: Query) -> Any:
        return opened.searcher.find([query], HITS, False, opened.verification, correct=True)

    def judge(_: Any) -> dict[str, float]:
        firsts = [find(query)[0][0].id for query in opened.queries]  # a file's id is its image's here
        return {
            "found": float(np.mean(np.equal(firsts, opened.targets))),
            "graph": os.path.getsize(f"{place}/{installed_backend().file_name}") / 2**20,
        }

    return opened.in_turn(find, [(query,) for query in opened.queries]), judge


def shortlist(place: str) -> timing.Prepared:
    opened = _Opened(place)

    def judge(_: Any) -> dict[str, float]:
        shares = []
        for query in opened.queries[:10]:
            exact, found = ({one.image for one in opened.shortlist(query, how)[0]} for how in (True, False))
            shares.append(len(exact & found) / len(exact))
        return {"recall": float(np.mean(shares))}

    return opened.in_turn(opened.shortlist, [(query,) for query in opened.queries]), judge


def read_features(place: str) -> timing.Prepared:
    opened = _Opened(place)

    def read(candidates: Any) -> object:
        with opened.catalog.read() as snapshot:
            return opened.verification._features(candidates, snapshot)

    return opened.in_turn(read, [(opened.shortlist(query)[0],) for query in opened.queries]), lambda _: {}


def verification(place: str) -> timing.Prepared:
    """All that the re-ranker does but for reading, which is done before."""
    opened = _Opened(place)
    inputs = []
    with opened.catalog.read() as snapshot:
        for query in opened.queries:
            candidates = opened.shortlist(query)[0]
            inputs.append((query, candidates, opened.verification._features(candidates, snapshot)))

    def verify(query: Query, candidates: Any, features: Any) -> object:
        opened.verification._features = lambda *_: features  # type: ignore[method-assign]
        with opened.catalog.read() as snapshot:
            return opened.verification.rerank(query, candidates, snapshot)

    return opened.in_turn(verify, inputs), lambda _: {}


def hits(place: str) -> timing.Prepared:
    opened = _Opened(place)
    names = [view.name for view in VIEWS]
    inputs = []
    for query in opened.queries:
        candidates, files = opened.shortlist(query)
        inputs.append((files, candidates, names, HITS))
    return opened.in_turn(in_order, inputs), lambda _: {}


def brute_force(place: str) -> timing.Prepared:
    """The same cells in OpenCV's matcher: of a query and the images of its shortlist."""
    match, opened = opencv_matcher(), _Opened(place)
    inputs = []
    with opened.catalog.read() as snapshot:
        for query in opened.queries[:5]:
            features = opened.verification._features(opened.shortlist(query)[0], snapshot)
            cells = [one.descriptors.astype(np.float32) / SCALE for one in features.values()]
            inputs.append((query.features[0.0].descriptors.astype(np.float32) / SCALE, cells))

    def work(query: Floats, images: list[Floats]) -> list[Any]:
        return [match(query, image) for image in images]

    return opened.in_turn(work, inputs), lambda _: {}


PARTS: dict[str, timing.Prepare] = {
    WHOLE: whole_search,
    "shortlist of 24 views": shortlist,
    "local features read": read_features,
    f"verification of {VERIFIED}": verification,
    "hits": hits,
    MATCHER: brute_force,
}


def print_rows(rows: list[Row], threads: int) -> None:
    def text(value: float | None, decimals: int) -> str:
        return "" if value is None else f"{value:,.{decimals}f}"

    timing.print_table(
        f"{rows[0].images:,} images, threads {threads}",
        ("", "ms", "CPU ms", "to the matcher", "recall@50", "found first", "memory MiB", "graph MiB"),
        (
            (
                row.name,
                text(row.ms, 1),
                text(row.cpu_ms, 1),
                text(row.to_matcher, 3),
                text(row.recall, 3),
                text(row.found, 2),
                text(row.memory_mib, 0),
                text(row.graph_mib, 0),
            )
            for row in rows
        ),
    )


if __name__ == "__main__":
    main()
