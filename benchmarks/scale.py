"""How do one machine's times, memory and recall grow, at 100,000, a million and five million images?

    python benchmarks/scale.py --work DIR [--images 100000 1000000] [--descriptors_only 5000000] [--picture OUT]
        [--json OUT] [--seed 0]

Every image is a file of a few bytes in a folder, with a ready descriptor of 128 dimensions (`benchmarks/index.py`), so
that nothing is encoded. Each step runs in a process of its own, whose peak of memory is told:

- building and saving the graph, and the array of descriptors beside the catalog;
- opening: the first search of a new process;
- synchronising when nothing changed, after 1,000 files came, and after 1,000 went;
- one query through the graph, with the smallest `ef_search` that reaches a recall@10 of 0.99, and one exactly;
- how long summing as many bytes as the descriptors have takes in memory, which is what bounds an exact search.

With `--descriptors_only` there are no files and no graph: the exact search alone, in the catalog as it is.
`--work` needs 3 GB for each million images, and is emptied at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timing
from index import DIM, Floats, ReadyEncoder, clustered

from tfvlad.index import Index
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index.catalog import Catalog, to_blob
from tfvlad.index.graph_backends import installed_backend

CHANGED = 1000  # files that come and go
QUERIES = 200
TARGET = 0.99
IN_A_FOLDER = 1000
EXACT = 9  # queries, one after the other
EMPTY_CATALOG = "benchmark"


@dataclasses.dataclass(frozen=True)
class Step:
    """One step at one size.

    Attributes:
      images: the number of images.
      name: of the step.
      seconds: it took.
      gigabytes: of memory that its process needed beyond what it started with.
      recall: of what it found; None where that is not its matter.
    """

    images: int
    name: str
    seconds: float
    gigabytes: float
    recall: float | None = None


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--descriptors_only", type=int, nargs="*", default=[5_000_000])
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    steps: list[Step] = []
    for count in arguments.images:
        with made(arguments.work) as place:
            steps += images_of(place, count, arguments.seed)
        print_steps(steps)
    for count in arguments.descriptors_only:
        with made(arguments.work) as place:
            steps += descriptors_of(place, count, arguments.seed)
        print_steps(steps)
    if arguments.picture:
        draw(steps, arguments.picture)
    timing.write_json(arguments.json, steps)


@contextlib.contextmanager
def made(work: Path) -> Iterator[Path]:
    """A new folder, which is gone in the end."""
    place = work / "scale"
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def images_of(place: Path, count: int, seed: int) -> Iterator[Step]:
    """Every step with files, a graph and a catalog."""
    vectors = clustered(count + CHANGED, seed)
    np.save(place / "vectors.npy", vectors)
    for number in range(count):
        write_file(place, number)

    def step(name: str, run: Callable[..., tuple[float, float, float | None]], *given: Any) -> Step:
        print(f"{count:,}: {name}", flush=True)
        return Step(count, name, *timing.alone(run, place, *given))

    yield step(
        "synchronise for the first time: read the files, fill the catalog, build and save the graph", synchronise
    )
    yield step("build and save the graph, alone", build)
    yield step("save the array of descriptors", save_vectors)
    yield step("open, and search for the first time", search_first)
    yield step(f"find the ef_search for {TARGET:g}", choose)
    yield step("one query through the graph", search_graph)
    yield step("one query, exactly", search_exactly)
    yield step("sum as many bytes in memory", sum_bytes, count)
    yield step("synchronise, unchanged", synchronise)
    for number in range(count, count + CHANGED):
        write_file(place, number)
    yield step(f"add {CHANGED:,}", synchronise)
    for number in range(CHANGED):
        file_of(place, number).unlink()
    yield step(f"remove {CHANGED:,}", synchronise)
    size = sum(file.stat().st_size for file in (place / "index").rglob("*") if file.is_file())
    print(f"{count:,}: the index has {size / 1e9:.2f} GB on disk", flush=True)


def descriptors_of(place: Path, count: int, seed: int) -> Iterator[Step]:
    """The exact search among descriptors of which there are no files and no graph."""
    print(f"{count:,}: filling the catalog", flush=True)
    fill(place, count, seed)
    yield Step(count, "save the array of descriptors", *timing.alone(save_vectors, place))
    yield Step(count, "one query, exactly", *timing.alone(search_exactly, place))
    yield Step(count, "sum as many bytes in memory", *timing.alone(sum_bytes, place, count))


def fill(place: Path, count: int, seed: int) -> None:
    """Writes a catalog with descriptors alone; a part of them at a time, so that any number fits into memory."""
    from tfvlad.config import IndexConfig

    (place / "index").mkdir()
    with contextlib.closing(Catalog.create(str(place / "index"), EMPTY_CATALOG, DIM, IndexConfig())):
        pass
    import sqlite3

    with contextlib.closing(sqlite3.connect(place / "index" / "catalog.sqlite")) as database, database:
        for first in range(0, count, 100_000):
            part = clustered(min(100_000, count - first), seed + first)
            rows = range(first + 1, first + 1 + len(part))
            database.executemany("INSERT INTO images (id, sha256) VALUES (?, ?)", ((n, n.to_bytes(32)) for n in rows))
            database.executemany(
                "INSERT INTO descriptors (id, image, view, vector) VALUES (?, ?, 'whole', ?)",
                ((n, n, to_blob(vector)) for n, vector in zip(rows, part, strict=True)),
            )


def file_of(place: Path, number: int) -> Path:
    return place / "photos" / f"{number // IN_A_FOLDER:05}" / f"{number:08}.jpg"


def write_file(place: Path, number: int) -> None:
    path = file_of(place, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(number))


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """The seconds of a step, and the gigabytes by which it raised this process's peak."""
    before = timing.reset_peak()
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return seconds, (timing.status("VmHWM") - before) / 1e9


def synchronise(place: Path) -> tuple[float, float, None]:
    vectors = np.load(place / "vectors.npy", mmap_mode="r")
    encoder: Any = ReadyEncoder(vectors)
    exists = (place / "index").exists()
    index = Index.open(place / "index", encoder) if exists else Index.create(place / "index", encoder, local_features=0)
    with index:
        return *timed(lambda: index.sync(place / "photos")), None


def build(place: Path) -> tuple[float, float, None]:
    (place / "index" / installed_backend().file_name).unlink()
    with contextlib.closing(Catalog(str(place / "index"))) as catalog, catalog.sole_writer():
        return *timed(GraphCache(catalog, installed_backend()).save), None


def save_vectors(place: Path) -> tuple[float, float, None]:
    with contextlib.closing(Catalog(str(place / "index"))) as catalog, catalog.sole_writer():
        with contextlib.suppress(FileNotFoundError):
            (place / "index" / "descriptors.bin").unlink()
        with catalog.write() as change:
            change.put_vectors(None)
        return *timed(catalog.save_vectors), None


def queries_of(place: Path) -> Floats:
    """Queries near descriptors of the index, as photographs of indexed things are."""
    generator = np.random.default_rng(7)
    if (place / "vectors.npy").exists():
        vectors = np.load(place / "vectors.npy", mmap_mode="r")
        chosen = vectors[np.sort(generator.choice(len(vectors) - CHANGED, QUERIES, replace=False))]
    else:
        chosen = clustered(QUERIES, 0)
    near = chosen + generator.normal(0, 0.05, chosen.shape).astype(np.float32)
    unit: Floats = near / np.linalg.norm(near, axis=1, keepdims=True)
    return unit


def search_first(place: Path) -> tuple[float, float, None]:
    query = queries_of(place)[:1]

    def run() -> None:
        with Index.open(place / "index") as index:
            index.search_descriptors(query)

    return *timed(run), None


def choose(place: Path) -> tuple[float, float, float]:
    with Index.open(place / "index") as index:
        found: list[float] = []
        seconds = timed(lambda: found.append(index.verify(target_recall=TARGET).recall))
        return *seconds, found[0]


def search_graph(place: Path) -> tuple[float, float, float]:
    queries = queries_of(place)
    with Index.open(place / "index") as index:
        ids = [hit.id for hit in index.search_descriptors(queries[:1])[0]]
        assert ids
        per_query, gigabytes = per_call(lambda row: index.search_descriptors(row), queries)
        found = index.search_descriptors(queries)
        exact = index.search_descriptors(queries, exact=True)
    kept = [
        len({hit.id for hit in one} & {hit.id for hit in best}) / len(best)
        for one, best in zip(found, exact, strict=True)
    ]
    return per_query, gigabytes, float(np.mean(kept))


def search_exactly(place: Path) -> tuple[float, float, None]:
    queries = queries_of(place)[: EXACT + 1]
    if (place / "vectors.npy").exists():
        with Index.open(place / "index") as index:
            index.search_descriptors(queries[:1], exact=True)
            return *per_call(lambda row: index.search_descriptors(row, exact=True), queries[1:]), None
    from tfvlad.index.ranking import search_exactly as rank

    with contextlib.closing(Catalog(str(place / "index"))) as catalog:

        def search(row: Floats) -> None:
            with catalog.read() as snapshot:
                rank(snapshot, row, 10)

        search(queries[:1])
        return *per_call(search, queries[1:]), None


def per_call(search: Callable[[Floats], Any], queries: Floats) -> tuple[float, float]:
    """The median of the seconds of one query, and the gigabytes of all."""
    taken: list[float] = []

    def run() -> None:
        for row in range(len(queries)):
            start = time.perf_counter()
            search(queries[row : row + 1])
            taken.append(time.perf_counter() - start)

    gigabytes = timed(run)[1]
    return float(np.median(taken)), gigabytes


def sum_bytes(place: Path, count: int) -> tuple[float, float, None]:
    numbers = np.ones(count * DIM // 2, np.int64)  # as many bytes as float32 descriptors have
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        numbers.sum()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)), numbers.nbytes / 1e9, None


def print_steps(steps: list[Step]) -> None:
    """Prints a row for each step, with the times at each size and the last one's in that of the size before."""
    sizes = sorted({step.images for step in steps})
    by_name = {
        name: {step.images: step for step in steps if step.name == name}
        for name in dict.fromkeys(s.name for s in steps)
    }
    rows = []
    for name, found in by_name.items():
        cells = [shown(found[size]) if size in found else "" for size in sizes]
        known = [found[size] for size in sizes if size in found]
        growth = [f"{b.seconds / a.seconds:.1f} for {b.images / a.images:g}" for a, b in itertools.pairwise(known)]
        rows.append((name, *cells, "; ".join(growth)))
    timing.print_table("One machine", ("step", *(f"{size:,}" for size in sizes), "times as long"), rows)


def shown(step: Step) -> str:
    took = f"{step.seconds:.3g} s" if step.seconds >= 1 else f"{1e3 * step.seconds:.3g} ms"
    found = "" if step.recall is None else f", recall {step.recall:.3f}"
    return f"{took}, {step.gigabytes:.2f} GB{found}"


def draw(steps: list[Step], path: Path) -> None:
    """Draws how each step's time grows with the number of images, both in logarithms."""
    import matplotlib.pyplot as plt  # nothing else here needs it

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for number, name in enumerate(dict.fromkeys(step.name for step in steps)):
        known = sorted((step for step in steps if step.name == name), key=lambda step: step.images)
        sizes, seconds = [step.images for step in known], [step.seconds for step in known]
        axes.plot(sizes, seconds, "o-", label=name.split(":")[0], color=plt.get_cmap("tab20")(number))
    axes.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
