"""Does an index find the right photograph among distractors, and does it know that it has found it?

    python benchmarks/finding.py --data DATA --cache CACHE [--network vgg16] [--distractors 0 1000 3000] [--json OUT]

DATA holds `smvs_dvd`, `smvs_books`, `holidays_small`, `distractors` and the networks' weights; `--help` names the sets.
Nothing is fitted on a query of the covers: their encoder is fitted on the references of both sets and 500 distractors.
The one for Holidays, whose queries are in its database by its protocol, is fitted on its photographs. Settings were
chosen on `canon` and `books A`; `e63` and `books B` were only looked at.

Each row adds to the one before: descriptors of the whole photograph; the query's views; scores less hubness; 50
candidates verified by local features. The last two rows are SIFT with OpenCV instead: on the same 50 candidates, and on
all images of the index, for the first `--brute_force` queries of a set. Times are of one query alone, behind the
network's forward pass: `find` is everything from the descriptors to the hits, `describe` makes descriptors and local
features of the activations. CPU times of all threads are beside them, as the machine may be busy.

The networks' activations are kept in CACHE (3 MB an image and 15 MB a query of VGG16), as 16-bit floats; a second run
takes minutes where the first one took an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its idle threads spin, which costs the others' time

import numpy as np
import numpy.typing as npt
import timing

import tfvlad
from tfvlad.config import QUERY_CELLS, QUERY_SCALE, VERIFIED
from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.encoding.views import ViewsDescription, cell_centres, cells_of_view
from tfvlad.images.batching import ImageBatch
from tfvlad.images.listing import image_paths
from tfvlad.index.compact import compact
from tfvlad.index.reranking import Query
from tfvlad.matching.verification import Candidate
from tfvlad.matching.verification import Query as Asked
from tfvlad.metrics import evaluate

Hits = list[list[tfvlad.Hit]]

FITTED_DISTRACTORS = 500
TIMED = 20  # queries whose search is timed
RIGHT = ("same", "likely")

# Set -> the folder of its database, that of its queries, and which of those, by name, are its own.
SETS: dict[str, tuple[str, str, Callable[[int], bool]]] = {
    "e63": ("smvs_dvd/Reference", "smvs_dvd/E63", lambda number: True),
    "canon": ("smvs_dvd/Reference", "smvs_dvd/Canon", lambda number: True),
    "books A": ("smvs_books/Reference", "smvs_books/Query", lambda number: number % 2 == 0),
    "books B": ("smvs_books/Reference", "smvs_books/Query", lambda number: number % 2 == 1),
    "holidays": ("holidays_small/jpg", "holidays_small/jpg", lambda number: True),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "vgg16": {"weights": "vgg16_imagenet_notop.weights.h5"},
    "squeezenet": {
        "backbone": "squeezenet_imagenet_notop.keras",
        "preprocessing": "caffe",
        "layer": "fire8_concat",
    },
}


@dataclasses.dataclass(frozen=True)
class Row:
    """How well and how fast one way of searching answers the queries of a set."""

    network: str
    set: str
    distractors: int
    method: str
    queries: int
    recall_at_1: float
    recall_at_10: float
    mrr: float
    map: float
    known_again: float | None = None  # share of right answers, at whatever rank, that are "same" or "likely"
    find_ms: float | None = None
    find_cpu_ms: float | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is so for an index, whatever is searched for."""

    network: str
    database: str
    distractors: int
    images: int
    bytes_per_image: float
    describe_ms: float
    describe_cpu_ms: float
    strangers: int  # queries that show nothing of the index
    pairs: int  # of a stranger and an image that was verified
    false_same_pairs: int
    strangers_told_same: int
    inliers_for_same: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="a folder for activations and indexes")
    parser.add_argument("--network", choices=NETWORKS, default="vgg16")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--distractors", nargs="+", type=int, default=[0, 3000], help="how many there are")
    parser.add_argument("--sift", action="store_true", help="also verify with SIFT, a second or two for each query")
    parser.add_argument(
        "--brute_force", type=int, default=0, metavar="N", help="queries compared with all images by SIFT"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the encoder")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there, too")
    arguments = parser.parse_args()
    remember_activations(arguments.cache / "activations")
    bench = Bench(
        arguments.data, arguments.cache, arguments.network, arguments.set, arguments.sift, arguments.brute_force
    )
    rows: list[Row] = []
    facts: list[Facts] = []
    databases = list(dict.fromkeys(SETS[name][0] for name in arguments.sets))
    for count in arguments.distractors:
        for database in databases:
            with bench.index(database, count) as index:
                for name in arguments.sets:
                    if SETS[name][0] == database:
                        rows += bench.search(index, name, count)
                        timing.write_json(arguments.json, [*rows, *facts])
                facts.append(bench.facts(index, database, count))
            timing.write_json(arguments.json, [*rows, *facts])
    print_table(rows)
    print_facts(facts)


class Bench:
    """The benchmark of one network.

    Args:
      data: the folder of the photographs and networks.
      cache: a folder for indexes.
      network: a name in `NETWORKS`.
      settings: NAME=VALUE of `tfvlad.EncoderConfig`.
      sift: whether SIFT verifies, too.
      brute_force: queries that are compared with all images by SIFT.
    """

    def __init__(
        self, data: Path, cache: Path, network: str, settings: Sequence[str], sift: bool, brute_force: int
    ) -> None:
        self._data, self._cache, self._network, self._sift, self._brute_force = data, cache, network, sift, brute_force
        given = {name: _value(value) for name, value in (setting.split("=", 1) for setting in settings)}
        own = {name: str(data / value) if name in ("weights", "backbone") else value
               for name, value in NETWORKS[network].items()}  # fmt: skip
        self._config = tfvlad.EncoderConfig(**{**own, **given})
        self._encoders: dict[str, tfvlad.Encoder] = {}
        self._distractors = image_paths(data / "distractors")

    def encoder(self, database: str) -> tfvlad.Encoder:
        """The encoder for a database, see the module."""
        name = "holidays" if database.startswith("holidays") else "covers"
        if name not in self._encoders:
            folders = [database] if name == "holidays" else ["smvs_dvd/Reference", "smvs_books/Reference"]
            sample = [path for folder in folders for path in image_paths(self._data / folder)]
            if name == "covers":
                sample += _spread(self._distractors, FITTED_DISTRACTORS)
            self._encoders[name] = tfvlad.Encoder.fit(sample, self._config)
            config = self._encoders[name].config
            print(f"{self._network}, {name}: fitted on {len(sample)} images, {config}", flush=True)
        return self._encoders[name]

    def index(self, database: str, distractors: int) -> tfvlad.Index:
        """The index of a database and so many distractors; kept for the next run."""
        encoder = self.encoder(database)
        name = f"{database.replace('/', '-')}-{distractors}"
        among = self._cache / "distractors" / str(distractors)
        shutil.rmtree(among, ignore_errors=True)
        among.mkdir(parents=True)
        for path in _spread(self._distractors, distractors):
            (among / Path(path).name).symlink_to(Path(path).resolve())
        folder = self._cache / "indexes" / encoder.fingerprint[:16] / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        index = tfvlad.Index.open(folder, encoder) if folder.exists() else tfvlad.Index.create(folder, encoder)
        index.sync([self._data / database, *([among] if distractors else [])])
        return index

    def queries(self, index: tfvlad.Index, paths: Sequence[str], views: str | None) -> list[Query]:
        """Describes photographs, as `tfvlad.Index.search` does."""
        plan = index._plan(None, views, "cells", 0)
        chunks = index._queries.read(paths, plan.views, None, True, True)
        return [query for chunk in chunks for query in chunk]

    def paths(self, name: str) -> tuple[list[str], list[dict[str, list[str]]]]:
        """The queries of a set and the paths of their right answers."""
        database, folder, chosen = SETS[name]
        images = image_paths(self._data / database)
        if name != "holidays":
            own = [path for number, path in enumerate(image_paths(self._data / folder)) if chosen(number)]
            return own, [{"ok": [str(self._data / database / Path(path).name)], "junk": []} for path in own]
        groups: dict[str, list[str]] = {}
        for path in images:
            groups.setdefault(Path(path).name[:4], []).append(path)
        answers = {group[0]: group[1:] for group in groups.values() if len(group) > 1 and group[0].endswith("00.jpg")}
        return list(answers), [{"ok": others, "junk": [query]} for query, others in answers.items()]

    def search(self, index: tfvlad.Index, name: str, distractors: int) -> list[Row]:
        """All ways of searching for the queries of a set."""
        paths, truths = self.paths(name)
        k = len(index) if name == "holidays" else 200
        whole = self.queries(index, paths, "whole")
        views = self.queries(index, paths, None)
        cells = index._plan(None, None, "cells", 0).reranker
        ways: list[tuple[str, list[Query], Any, bool]] = [
            ("descriptors", whole, None, False),
            ("+ query views", views, None, False),
            ("+ hubness", views, None, True),
            (f"+ {VERIFIED} verified", views, cells, True),
        ]
        if self._sift:
            sift = index._plan(None, None, "sift", 0).reranker
            ways.append((f"SIFT, {VERIFIED}", views, sift, True))
        rows = []
        for method, queries, reranker, correct in ways:

            def find(query: Query, most: int, reranker: Any = reranker, correct: bool = correct) -> list[tfvlad.Hit]:
                return index._searcher.find([query], most, False, reranker, correct)[0]

            hits = [find(query, k) for query in queries]
            wall, cpu = _milliseconds(lambda query: find(query, 10), queries[:TIMED])
            rows.append(self._row(name, distractors, method, hits, truths, wall, cpu))
        if self._brute_force:
            some = paths[: self._brute_force]
            hits, wall, cpu = brute_force(index, some)
            rows.append(self._row(name, distractors, "SIFT, all", hits, truths[: len(some)], wall, cpu))
        return rows

    def _row(self, name: str, distractors: int, method: str, hits: Hits, truths: Any, wall: float, cpu: float) -> Row:
        rankings = [[hit.path for hit in found] for found in hits]
        metrics = evaluate(rankings, truths, (1, 10))
        right = [hit for found, truth in zip(hits, truths, strict=True) for hit in found if hit.path in truth["ok"]]
        known = None
        if any(hit.verdict for hit in right):
            known = sum(hit.verdict in RIGHT for hit in right) / sum(len(truth["ok"]) for truth in truths)
        row = Row(
            self._network, name, distractors, method, metrics.queries, metrics.recall_at[1], metrics.recall_at[10],
            metrics.mrr, metrics.map, known, wall, cpu,
        )  # fmt: skip
        print_table([row])
        return row

    def facts(self, index: tfvlad.Index, database: str, distractors: int) -> Facts:
        """The size of an index, and how often it takes what it does not hold for something that it holds."""
        others = "smvs_dvd/E63" if database == "smvs_books/Reference" else "smvs_books/Query"
        strangers = image_paths(self._data / others)
        plan = index._plan(None, None, "cells", 0)
        queries = self.queries(index, strangers, None)
        hits = [index._searcher.find([query], 200, False, plan.reranker, True)[0] for query in queries]
        same = [sum(hit.verdict == "same" for hit in found) for found in hits]
        encoder = self.encoder(database)
        described = list(encoder.describe_views(strangers[:TIMED], plan.views, QUERY_SCALE))
        wall, cpu = _milliseconds(lambda found: describe_again(encoder, found), described)
        size = sum(file.stat().st_size for file in Path(index._path).iterdir() if file.is_file())
        return Facts(
            self._network, database, distractors, len(index), size / len(index), wall, cpu, len(strangers),
            sum(hit.verdict is not None for found in hits for hit in found), sum(same), sum(map(bool, same)),
            index.calibration().thresholds()["same"],
        )  # fmt: skip


def describe_again(encoder: tfvlad.Encoder, found: ViewsDescription) -> None:
    """Makes the descriptors and the compact local features of a query anew, from what the network gave."""
    parts = []
    for view, its in zip(found.views, found.pass_of, strict=True):
        features, matrix = found.passes[its].features, found.passes[its].to_picture
        height, width, channels = features.shape
        parts.append(features.reshape(-1, channels)[cells_of_view(view, cell_centres(height, width, matrix))])
    vectors = encoder.aggregation.vectors_of_cells(parts)
    if encoder._view_engine._whiten:
        encoder._view_engine._whiten(vectors)
    for one in found.passes:
        compact(one.features, found.size, one.to_picture, QUERY_CELLS)


def brute_force(index: tfvlad.Index, paths: Sequence[str]) -> tuple[Hits, float, float]:
    """Compares photographs with every image by SIFT and a homography, as twenty lines of OpenCV do."""
    from tfvlad.matching import sift

    sift._REMEMBERED = len(index) + len(paths)  # keypoints, so that they are found but once
    verifier = sift.SiftVerifier()
    images = list(index.images())
    candidates = [Candidate(path) for _, _, path in images]
    verifier.verify(Asked(paths[0]), candidates)

    def find(path: str) -> list[tfvlad.Hit]:
        inliers = [match.inliers for match in verifier.verify(Asked(path), candidates)]
        order = np.argsort(-np.array(inliers), kind="stable")[:200]
        return [tfvlad.Hit(images[place][2], inliers[place], images[place][0]) for place in order.tolist()]

    hits = [find(path) for path in paths]
    return hits, *_milliseconds(find, paths[:3])


def remember_activations(folder: Path) -> None:
    """Makes every encoder look into a folder for the activations of pixels that its network has seen before."""
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[int, str] = {}

    def extracted(self: FeatureExtractor[str], batch: Any) -> Iterator[Any]:
        if not isinstance(batch, ImageBatch):
            yield batch
            return
        if id(self.model) not in digests:
            weights = hashlib.sha1(usedforsecurity=False)
            for tensor in self.model.weights:
                weights.update(np.ascontiguousarray(tensor).data)
            digests[id(self.model)] = weights.hexdigest()[:16]
        images = np.asarray(batch.images)
        files = [folder / digests[id(self.model)] / f"{_digest(image)}.npy" for image in images]
        files[0].parent.mkdir(exist_ok=True)
        if missing := [number for number, file in enumerate(files) if not file.exists()]:
            for number, activations in zip(missing, np.asarray(_run(self.model)(images[missing])), strict=True):
                temporary = files[number].with_suffix(f".{os.getpid()}.npy")
                np.save(temporary, activations.astype(np.float16))
                temporary.replace(files[number])
        maps = np.stack([np.load(file) for file in files]).astype(np.float32)
        values = {key: np.asarray(head.layer(maps)) for key, head in self.heads.items()}
        yield FeatureBatch(batch.positions, values, dict.fromkeys(self.heads, maps.shape[1:3]))

    FeatureExtractor.extracted = extracted  # type: ignore[method-assign, assignment]


_runs: dict[int, Any] = {}


def _run(model: Any) -> Any:
    import tensorflow as tf

    if id(model) not in _runs:
        signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
        _runs[id(model)] = tf.function(lambda images: model(images, training=False), input_signature=signature)
    return _runs[id(model)]


def _digest(image: npt.NDArray[np.float32]) -> str:
    return hashlib.sha1(str(image.shape).encode() + image.tobytes(), usedforsecurity=False).hexdigest()


def _spread(paths: Sequence[str], count: int) -> list[str]:
    """So many of the paths, evenly spread."""
    return [paths[place] for place in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int).tolist()]


def _value(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"None": None, "True": True, "False": False}.get(text, text)


def _milliseconds(work: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[float, float]:
    """Median wall and CPU milliseconds of some work."""
    times = []
    for one in inputs:
        cpu, start = time.process_time(), time.perf_counter()
        work(one)
        times.append((time.perf_counter() - start, time.process_time() - cpu))
    wall, cpu = np.median(np.array(times), axis=0) * 1e3
    return float(wall), float(cpu)


def print_table(rows: Sequence[Row]) -> None:
    header = ("", "queries", "recall@1", "@10", "MRR", "mAP", "known again", "find ms", "CPU ms")
    cells = [
        (
            f"{row.set}, {row.distractors} distractors: {row.method}",
            row.queries,
            *(f"{value:.3f}" for value in (row.recall_at_1, row.recall_at_10, row.mrr, row.map)),
            "" if row.known_again is None else f"{row.known_again:.2f}",
            f"{row.find_ms:.0f}",
            f"{row.find_cpu_ms:.0f}",
        )
        for row in rows
    ]
    timing.print_table(rows[0].network if rows else "", header, cells)


def print_facts(facts: Sequence[Facts]) -> None:
    header = ("", "images", "bytes/image", "describe ms", "CPU ms", "pairs", "false same", "of strangers", "same from")
    cells = [
        (
            f"{fact.database}, {fact.distractors} distractors",
            fact.images,
            f"{fact.bytes_per_image:.0f}",
            f"{fact.describe_ms:.0f}",
            f"{fact.describe_cpu_ms:.0f}",
            fact.pairs,
            fact.false_same_pairs,
            f"{fact.strangers_told_same}/{fact.strangers}",
            f"{fact.inliers_for_same} inliers",
        )
        for fact in facts
    ]
    timing.print_table("indexes", header, cells)


if __name__ == "__main__":
    main()
