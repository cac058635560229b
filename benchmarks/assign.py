"""How fast is `assign`, beside the matrix product that it contains and beside other searches for the nearest centroid?

    python benchmarks/assign.py [--json OUT] [--rounds 15] [--seed 0]

One long matrix of features, as when a codebook is fitted. Prints, for one thread and for all: the median time per
1,000 features, its ratios to the bare matrix product and to `assign` (medians of the ratios within each round), the
share of labels that equal those of a float64 computation, and where they differ, by how much the chosen centroid is
at most farther away than the nearest. Install ``tfvlad[bench]`` for all contenders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import timing
from vlad import LEAST, PRODUCT, SHAPES, bare_product, synthetic

KERNEL = "assign"

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one shape and one number of threads; `largest_gap` is in Euclidean distance."""

    threads: int
    features: int
    depth: int
    clusters: int
    name: str
    ms_per_thousand: float
    to_product: float
    to_kernel: float
    agreement: float | None
    largest_gap: float | None


def main() -> None:
    arguments = timing.parser(__doc__, rounds=15).parse_args()
    rows: list[Row] = []
    missing: list[str] = []
    for threads in timing.all_threads():
        for shape in SHAPES:
            features, centroids = synthetic(*shape, seed=arguments.seed)
            features = features.reshape(-1, features.shape[2])
            timings, absent = timing.compare(CONTENDERS, (features, centroids), threads, arguments.rounds, LEAST)
            missing += absent
            found = [
                Row(
                    threads,
                    len(features),
                    *shape[1:],
                    name,
                    ms_per_thousand=measured.median / len(features) * 1e6,
                    to_product=measured.ratio(timings[PRODUCT]),
                    to_kernel=measured.ratio(timings[KERNEL]),
                    agreement=measured.quality.get("agreement"),
                    largest_gap=measured.quality.get("largest gap"),
                )
                for name, measured in timings.items()
            ]
            print_rows(found)
            rows += found
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def kernel(features: Floats, centroids: Floats) -> timing.Prepared:
    from tfvlad_kernels import assign

    return lambda: assign(features, centroids), judge(features, centroids)


def product_and_argmax(features: Floats, centroids: Floats) -> timing.Prepared:
    transposed, half_norms = np.ascontiguousarray(centroids.T), np.sum(centroids**2, axis=1) / 2
    return lambda: np.argmax(features @ transposed - half_norms, axis=1), judge(features, centroids)


def scikit_learn(features: Floats, centroids: Floats) -> timing.Prepared:
    from sklearn.metrics import pairwise_distances_argmin

    return lambda: pairwise_distances_argmin(features, centroids), judge(features, centroids)


def faiss(features: Floats, centroids: Floats) -> timing.Prepared:
    import faiss

    index = faiss.IndexFlatL2(features.shape[1])
    index.add(centroids)
    return lambda: index.search(features, 1)[1][:, 0], judge(features, centroids)


CONTENDERS: dict[str, timing.Prepare] = {
    PRODUCT: bare_product,
    KERNEL: kernel,
    "NumPy, product + argmax": product_and_argmax,
    "scikit-learn": scikit_learn,
    "faiss": faiss,
}


def judge(features: Floats, centroids: Floats) -> Callable[[Labels], dict[str, float]]:
    """Compares labels with those of a float64 computation."""

    def compare(labels: Labels) -> dict[str, float]:
        x, c = features.astype(np.float64), centroids.astype(np.float64)
        nearest = np.argmax(x @ c.T - np.sum(c**2, axis=1) / 2, axis=1)
        other = labels != nearest
        chosen, best = (np.linalg.norm(x[other] - c[k[other]], axis=1) for k in (labels, nearest))
        return {"agreement": float(1 - other.mean()), "largest gap": float(np.max(chosen - best, initial=0))}

    return compare


def print_rows(rows: list[Row]) -> None:
    first = rows[0]
    timing.print_table(
        f"{first.features} features, D={first.depth} K={first.clusters}, threads {first.threads}",
        ("", "ms/1000", "to product", "to assign", "agreement", "largest gap"),
        (
            (
                row.name,
                f"{row.ms_per_thousand:.3f}",
                f"{row.to_product:.2f}",
                f"{row.to_kernel:.2f}",
                "" if row.agreement is None else f"{row.agreement:.6f}",
                "" if row.largest_gap is None else f"{row.largest_gap:.1e}",
            )
            for row in rows
        ),
    )


if __name__ == "__main__":
    main()
