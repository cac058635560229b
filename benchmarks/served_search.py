"""What does the exact search of an exported index cost in a model server, and what does it find?

    python benchmarks/served_search.py [--vectors 100000 1000000] [--rounds 7] [--json OUT] [--limit 0]

Ready descriptors of 128 dimensions (those of `benchmarks/index.py`) are exported and loaded in a process of their own,
as a server would: seconds and memory to load, bytes on disk, and milliseconds for one query and for 16 at once, k = 10,
without the network. Beside them the time that summing the same bytes in memory takes. Parity is the share of 1,000
queries whose 10 hits are those of float64, in its order, and the largest difference of the scores that
another order stands for. `--limit N` looks for the largest index that can be exported, N million files at most.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import timing
from index import DIM, QUERIES, Floats, clustered

from tfvlad.index.contents import Contents
from tfvlad.serving._indexed_descriptors import IndexedDescriptors

K = 10
CHUNK = 100_000  # descriptors that NumPy compares at a time


@dataclasses.dataclass(frozen=True)
class Row:
    """An exported index: its size, its times, and how its hits compare with those in float64."""

    files: int
    export_seconds: float
    megabytes: float
    load_seconds: float
    load_peak_gigabytes: float
    one_ms: float
    sixteen_ms: float
    memory_ms: float
    same_order: float
    largest_swap: float


class Model(tf.Module):  # type: ignore[misc]
    """An exported index without a network: it takes descriptors where a real one takes images."""

    def __init__(self, held: IndexedDescriptors) -> None:
        super().__init__()
        self.held = held

    @tf.function(input_signature=[tf.TensorSpec((None, DIM), tf.float32), tf.TensorSpec((None,), tf.int32)])  # type: ignore[untyped-decorator]
    def search(self, descriptors: Any, k: Any) -> Any:
        return self.held.search(descriptors, k, tf.ones_like(k, tf.bool))


def main() -> None:
    parser = timing.parser(__doc__, rounds=7)
    parser.add_argument("--vectors", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--limit", type=int, default=0)
    arguments = parser.parse_args()
    rows = []
    for count in arguments.vectors:
        with tempfile.TemporaryDirectory() as place:
            rows.append(measure(Path(place), count, arguments.rounds, arguments.seed))
    names = [field.name for field in dataclasses.fields(Row)]
    timing.print_table(
        "The exact search of an exported index", names,
        [tuple(f"{value:,.4g}" for value in dataclasses.astuple(row)) for row in rows],
    )  # fmt: skip
    for millions in range(5, arguments.limit + 1, 5):
        print(f"{millions} million files: {attempt(millions * 1_000_000)}", flush=True)
    timing.write_json(arguments.json, rows, [])


def export(folder: Path, stored: Floats) -> float:
    """Exports descriptors under paths as long as those of photographs; tells the seconds."""
    start = time.perf_counter()
    paths = [f"photographs/{number // 1000:05}/{number:09}.jpg" for number in range(len(stored))]
    contents = Contents(np.arange(1, len(stored) + 1), paths, stored[:, None])
    model = Model(IndexedDescriptors(contents))
    tf.saved_model.save(model, str(folder / "model"), {"search": model.search})
    return time.perf_counter() - start


def served(place: str, rounds: int) -> dict[str, Any]:
    """Loads and searches an exported index; runs in a process of its own."""
    queries = np.load(f"{place}/queries.npy")
    before = timing.reset_peak()
    start = time.perf_counter()
    search = tf.saved_model.load(f"{place}/model").signatures["search"]
    loaded = time.perf_counter() - start
    peak = timing.status("VmHWM") - before

    def times(count: int) -> float:
        taken = []
        for number in range(rounds + 1):
            chosen = tf.constant(queries[number * count : (number + 1) * count])
            begun = time.perf_counter()
            search(descriptors=chosen, k=tf.fill((count,), K))["ids"].numpy()
            taken.append(time.perf_counter() - begun)
        return float(np.median(taken[1:]))

    found, scores = [], []
    for first in range(0, len(queries), 100):
        chosen = queries[first : first + 100]
        told = search(descriptors=tf.constant(chosen), k=tf.fill((len(chosen),), K))
        found.append(told["ids"].numpy())
        scores.append(told["scores"].numpy())
    return {
        "one": times(1), "sixteen": times(16), "loaded": loaded, "peak": peak / 1e9,
        "found": np.concatenate(found), "scores": np.concatenate(scores),
    }  # fmt: skip


def measure(place: Path, count: int, rounds: int, seed: int) -> Row:
    vectors = clustered(count + QUERIES, seed)
    stored, queries = vectors[QUERIES:], vectors[:QUERIES]
    np.save(place / "queries.npy", queries)
    seconds = timing.alone(export, place, stored)
    told = timing.alone(served, str(place), rounds)
    best, scores = exact(stored, queries)
    same = (told["found"] - 1 == best).all(axis=1)
    at_place = np.einsum("qd,qkd->qk", queries.astype(np.float64), stored[told["found"] - 1].astype(np.float64))
    size = sum(file.stat().st_size for file in (place / "model").rglob("*") if file.is_file())
    codes = np.ones((count, DIM), np.int16)
    summed = []
    for _ in range(5):
        start = time.perf_counter()
        codes.view(np.int64).sum()
        summed.append(time.perf_counter() - start)
    return Row(
        count, seconds, size / 1e6, told["loaded"], told["peak"], 1e3 * told["one"], 1e3 * told["sixteen"],
        1e3 * float(np.median(summed)), float(same.mean()), float(np.abs(at_place - scores).max()),
    )  # fmt: skip


def exact(stored: Floats, queries: Floats) -> tuple[np.ndarray, np.ndarray]:
    """The K best rows of each query in float64, rounded once; equal scores by row."""
    best_scores, best_rows = np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64)
    wide = queries.astype(np.float64)
    for first in range(0, len(stored), CHUNK):
        scores = wide @ stored[first : first + CHUNK].T.astype(np.float64)
        rows = np.argpartition(-scores, K, axis=1)[:, :K]
        best_scores = np.concatenate([best_scores, np.take_along_axis(scores, rows, 1)], axis=1)
        best_rows = np.concatenate([best_rows, rows + first], axis=1)
    order = np.lexsort((best_rows, -best_scores.astype(np.float32)), axis=1)[:, :K]
    return np.take_along_axis(best_rows, order, 1), np.take_along_axis(best_scores, order, 1)


def attempt(count: int) -> str:
    """Exports and loads an index of so many files, and tells how that ended."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        stored = generator.standard_normal((count, DIM), np.float32)
        np.save(f"{place}/queries.npy", stored[-QUERIES:] / np.linalg.norm(stored[-QUERIES:], axis=1, keepdims=True))
        try:
            seconds = timing.alone(export, Path(place), stored)
            told = timing.alone(served, place, 3)
        except Exception as error:
            return f"failed ({str(error).splitlines()[0][:200]})"
        own = (told["found"][:, 0] == np.arange(count - QUERIES + 1, count + 1)).mean()
        return (
            f"exported in {seconds:.0f} s, loaded in {told['loaded']:.0f} s, one query {1e3 * told['one']:.0f} ms, "
            f"{own:.3f} of descriptors find themselves"
        )


if __name__ == "__main__":
    main()
