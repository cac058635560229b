"""How fast are candidates verified, beside OpenCV's brute-force matcher on the same cells, and is it the same result?

    python benchmarks/verification.py [--json OUT] [--rounds 15] [--seed 0]

A query and 50 candidates of as many cells each, 64-D; a fifth of the candidates show half of the query's cells, moved
by an affine transform of their own, with noise. Prints, for one thread and for all: the median time for 50 candidates,
on the clock and of all threads' CPU, and its ratio to OpenCV's matcher alone (median of the ratios within each round);
the share of the transforms that come back to within the threshold; the share of their matches that are inliers here
and for `cv2.estimateAffine2D`, or for neither; and the most inliers that a candidate without anything of the query has.
Without OpenCV (``pip install opencv-python-headless``) its rows and the agreement are left out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import timing

CELLS = (400, 784)
CANDIDATES, DEPTH = 50, 64
SHOWN = 5  # every fifth candidate shows the query
THRESHOLD = 1.5  # cells
STEP = 1 / 250  # of the features in eight bits
LEAST = 0.1  # seconds of a timing
MATCHER = "OpenCV, brute force"

Floats = npt.NDArray[np.floating[Any]]


class Cells(NamedTuple):
    """A query and its candidates, one after the other.

    Attributes:
      query: (N, D) float32, unit vectors.
      positions: (N, 2) float32, in cells, of the query.
      features: (B, N, D) float32, unit vectors.
      places: (B, N, 2) float32, of the candidates.
      transforms: (B, 2, 3), by which the query's cells were moved; NaN where a candidate does not show the query.
    """

    query: Floats
    positions: Floats
    features: Floats
    places: Floats
    transforms: Floats


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one number of cells and of threads; the figures of quality are as in the module's text."""

    threads: int
    cells: int
    name: str
    ms: float
    cpu_ms: float
    to_matcher: float | None
    recovered: float | None
    agreement: float | None
    most_wrong: float | None


def main() -> None:
    arguments = timing.parser(__doc__, rounds=15).parse_args()
    rows: list[Row] = []
    missing: list[str] = []
    for threads in timing.all_threads():
        for cells in CELLS:
            given = draw_cells(cells, arguments.seed)
            timings, absent = timing.compare(CONTENDERS, given, threads, arguments.rounds, LEAST)
            missing += absent
            found = [
                Row(
                    threads,
                    cells,
                    name,
                    ms=taken.median * 1e3,
                    cpu_ms=float(np.median(taken.cpu_seconds)) * 1e3,
                    to_matcher=taken.ratio(timings[MATCHER]) if MATCHER in timings else None,
                    recovered=taken.quality.get("recovered"),
                    agreement=taken.quality.get("agreement"),
                    most_wrong=taken.quality.get("most wrong"),
                )
                for name, taken in timings.items()
            ]
            print_rows(found)
            rows += found
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def draw_cells(cells: int, seed: int) -> Cells:
    """Draws a query and its candidates."""
    generator = np.random.default_rng(seed)
    side = int(cells**0.5)
    positions = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    count = len(positions)
    query = unit(generator.standard_normal((count, DEPTH)))
    features = unit(generator.standard_normal((CANDIDATES, count, DEPTH)))
    places = np.tile(positions, (CANDIDATES, 1, 1)).astype(float)
    transforms = np.full((CANDIDATES, 2, 3), np.nan)
    for b in range(0, CANDIDATES, SHOWN):
        linear = np.eye(2) + generator.uniform(-0.4, 0.4, (2, 2))
        transforms[b] = np.column_stack([linear, (np.eye(2) - linear) @ [side / 2, side / 2]])
        shown, rows = (generator.permutation(count)[: count // 2] for _ in range(2))
        features[b, rows] = unit(query[shown] + 0.1 * generator.standard_normal((len(shown), DEPTH)))
        places[b, rows] = positions[shown] @ linear.T + transforms[b, :, 2]
        places[b, rows] += generator.uniform(-0.5, 0.5, (len(rows), 2))
    as_float32 = (array.astype(np.float32) for array in (query, positions, features, places))
    return Cells(*as_float32, transforms)


def unit(vectors: Floats) -> Floats:
    """Scales vectors to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def kernel_in_bytes(*given: Floats) -> timing.Prepared:
    cells = Cells(*given)
    return kernel(cells, *(np.rint(array / STEP).astype(np.int8) for array in (cells.query, cells.features)))


def kernel_in_floats(*given: Floats) -> timing.Prepared:
    cells = Cells(*given)
    return kernel(cells, cells.query, cells.features)


def kernel(cells: Cells, query: npt.NDArray[Any], features: npt.NDArray[Any]) -> timing.Prepared:
    """Prepares `verify` for features of either kind."""
    from tfvlad_kernels import verify, verify_pair

    bounds = np.arange(CANDIDATES + 1) * len(query)
    all_features, all_places = features.reshape(-1, DEPTH), cells.places.reshape(-1, 2)

    def run() -> Any:
        return verify(query, cells.positions, all_features, all_places, bounds, THRESHOLD)

    def judge(found: Any) -> dict[str, float]:
        figures = judge_transforms(cells, found.transforms)
        shows = ~np.isnan(cells.transforms[:, 0, 0])
        figures["most wrong"] = float(found.inliers[~shows].max())
        agreements = []
        for b in np.flatnonzero(shows):
            matches, agreed = verify_pair(query, cells.positions, features[b], cells.places[b], THRESHOLD)
            try:
                _, mask = affine_of_opencv(cells.positions[matches.pairs[:, 0]], cells.places[b][matches.pairs[:, 1]])
            except ImportError:
                return figures
            agreements.append((mask == agreed.mask).mean())
        return figures | {"agreement": float(np.mean(agreements))}

    return run, judge


def brute_force(*given: Floats) -> timing.Prepared:
    cells = Cells(*given)
    match = opencv_matcher()
    return lambda: [match(cells.query, features) for features in cells.features], lambda _: {}


def brute_force_and_affine(*given: Floats) -> timing.Prepared:
    cells = Cells(*given)
    match = opencv_matcher()

    def run() -> list[tuple[Floats, npt.NDArray[np.bool_]]]:
        found = []
        for features, places in zip(cells.features, cells.places, strict=True):
            matches = match(cells.query, features)
            pairs = np.array([(pair.queryIdx, pair.trainIdx) for pair in matches])
            found.append(affine_of_opencv(cells.positions[pairs[:, 0]], places[pairs[:, 1]]))
        return found

    def judge(found: list[tuple[Floats, npt.NDArray[np.bool_]]]) -> dict[str, float]:
        figures = judge_transforms(cells, np.stack([transform for transform, _ in found]))
        wrong = np.isnan(cells.transforms[:, 0, 0])
        return figures | {"most wrong": float(max(found[b][1].sum() for b in np.flatnonzero(wrong)))}

    return run, judge


CONTENDERS: dict[str, timing.Prepare] = {
    "verify, int8": kernel_in_bytes,
    "verify, float32": kernel_in_floats,
    MATCHER: brute_force,
    "OpenCV, brute force + affine RANSAC": brute_force_and_affine,
}


def opencv_matcher() -> Callable[[Floats, Floats], Any]:
    """Makes OpenCV's matcher, on as many threads as the process has cores."""
    import cv2

    if hasattr(os, "sched_getaffinity"):
        cv2.setNumThreads(len(os.sched_getaffinity(0)))
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)
    return lambda query, features: matcher.match(query, features)


def affine_of_opencv(query: Floats, places: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Returns OpenCV's (2, 3) transform, zeros where it finds none, and which correspondences agree with it."""
    import cv2

    transform, mask = cv2.estimateAffine2D(query, places, ransacReprojThreshold=THRESHOLD)
    if transform is None:
        return np.zeros((2, 3)), np.zeros(len(query), np.bool_)
    return np.asarray(transform), np.asarray(mask)[:, 0].astype(np.bool_)


def judge_transforms(cells: Cells, transforms: Floats) -> dict[str, float]:
    """Compares transforms with those that the cells were moved by, at the corners of the query."""
    shows = ~np.isnan(cells.transforms[:, 0, 0])
    last = cells.positions.max()
    corners = np.array([[0, 0, 1], [last, 0, 1], [0, last, 1], [last, last, 1]]).T  # (3, 4)
    errors = np.linalg.norm((transforms[shows] - cells.transforms[shows]) @ corners, axis=1)  # (S, 4)
    return {"recovered": float((errors.max(axis=1) < THRESHOLD).mean())}


def print_rows(rows: list[Row]) -> None:
    first = rows[0]
    timing.print_table(
        f"{CANDIDATES} candidates, {first.cells} cells, D={DEPTH}, threads {first.threads}",
        ("", "ms", "CPU ms", "to the matcher", "recovered", "agreement", "most wrong"),
        (
            (
                row.name,
                f"{row.ms:.2f}",
                f"{row.cpu_ms:.2f}",
                "" if row.to_matcher is None else f"{row.to_matcher:.3f}",
                "" if row.recovered is None else f"{row.recovered:.2f}",
                "" if row.agreement is None else f"{row.agreement:.3f}",
                "" if row.most_wrong is None else f"{row.most_wrong:.0f}",
            )
            for row in rows
        ),
    )


if __name__ == "__main__":
    main()
