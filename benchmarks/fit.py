"""How fast are codebook and whitening fitted, beside faiss and scikit-learn, how well, and in how much memory?

    python benchmarks/fit.py [--features 1000000] [--vlads 10000] [--threads N] [--rounds 0] [--json OUT] [--seed 0]

The codebook: K=100 on unit-length, non-negative features of 512 dimensions that lie about 1,000 overlapping centres in
a space of 32 dimensions. `fit_codebook` stops by itself; faiss takes its default 25 iterations, on all features
(`max_points_per_centroid=10**9`), and on the 256 per centroid that it samples by default. The inertia is the mean
squared distance of all features to the nearest centroid.

The whitening: unit-length vectors of 51,200 dimensions, whose variances fall slowly, to 128. `explained` is the share
of the sample's variance in the components found, computed anew from the sample for each contender.

Each contender holds its own copy of the input, 2 GB at the default sizes. With `--rounds 0` each runs once.
Install ``tfvlad[bench]`` for all contenders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import timing

from tfvlad.encoding.codebook import fit_codebook
from tfvlad.encoding.whitening import fit_whitening
from tfvlad_kernels import cluster_sums

DEPTH, CLUSTERS, DIM = 512, 100, 128
CENTRES, FACTORS = 1000, 32  # of the features
VLAD_FACTORS = 300
BLOCK = 1024  # rows drawn at a time
CODEBOOK, FAISS, FAISS_SAMPLE = "fit_codebook", "faiss.Kmeans, all features", "faiss.Kmeans, its sample"
WHITENING, PCA = "fit_whitening", "scikit-learn, randomised PCA"

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one of the two tasks; `to_peer` is None where the peer is not installed."""

    task: str
    name: str
    threads: int
    seconds: float
    cpu_seconds: float
    to_peer: float | None
    peak_bytes: int
    quality: dict[str, float]


def main() -> None:
    parser = timing.parser(__doc__, rounds=0)
    parser.add_argument("--features", type=int, default=1_000_000, help="of the codebook (1,000,000)")
    parser.add_argument("--vlads", type=int, default=10_000, help="of the whitening (10,000)")
    parser.add_argument("--threads", type=int, default=timing.all_threads()[-1], help="as many as there are cores")
    arguments = parser.parse_args()
    rows: list[Row] = []
    missing: list[str] = []
    tasks = (
        ("codebook", {CODEBOOK: ours, FAISS: faiss_all, FAISS_SAMPLE: faiss_sample}, FAISS, arguments.features),
        ("whitening", {WHITENING: whitening, PCA: scikit_learn}, PCA, arguments.vlads),
    )
    for task, contenders, peer, count in tasks:
        given = (count, arguments.seed)
        timings, absent = timing.compare(contenders, given, arguments.threads, arguments.rounds)
        missing += absent
        found = list(table(task, timings, timings.get(peer), arguments.threads))
        size = f"{count} x {DEPTH}, K={CLUSTERS}" if task == "codebook" else f"{count} x {CLUSTERS * DEPTH} to {DIM}"
        show(f"{task}: {size}, threads {arguments.threads}", found)
        rows += found
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def ours(count: int, seed: int) -> timing.Prepared:
    features = draw_features(count, seed)
    fit_codebook(features[: 2 * CLUSTERS], CLUSTERS, seed)  # compiles
    return lambda: fit_codebook(features, CLUSTERS, seed), inertia_of(features)


def faiss_all(count: int, seed: int) -> timing.Prepared:
    return faiss_kmeans(count, seed, max_points_per_centroid=10**9)


def faiss_sample(count: int, seed: int) -> timing.Prepared:
    return faiss_kmeans(count, seed)


def faiss_kmeans(count: int, seed: int, **options: int) -> timing.Prepared:
    import faiss

    features = draw_features(count, seed)

    def run() -> Floats:
        kmeans = faiss.Kmeans(DEPTH, CLUSTERS, niter=25, seed=seed, **options)
        kmeans.train(features)
        return np.asarray(kmeans.centroids)

    return run, inertia_of(features)


def inertia_of(features: Floats) -> Callable[[Floats], dict[str, float]]:
    return lambda centroids: {"inertia": cluster_sums(features, centroids)[2] / len(features)}


def whitening(count: int, seed: int) -> timing.Prepared:
    vlads = draw_vlads(count, seed)
    return lambda: fit_whitening(vlads, DIM, seed).components, explained_in(vlads)


def scikit_learn(count: int, seed: int) -> timing.Prepared:
    import sklearn.decomposition

    vlads = draw_vlads(count, seed)
    pca = sklearn.decomposition.PCA(DIM, svd_solver="randomized", random_state=seed)
    return lambda: pca.fit(vlads).components_, explained_in(vlads)


def explained_in(vlads: Floats) -> Callable[[Floats], dict[str, float]]:
    def judge(components: Floats) -> dict[str, float]:
        total = sum(float(np.sum(row.astype(np.float64) ** 2)) for row in vlads)
        mean = vlads.mean(axis=0, dtype=np.float64)
        scores = (vlads @ components.T).astype(np.float64)
        return {"explained": float(np.var(scores, axis=0).sum() / (total / len(vlads) - mean @ mean))}

    return judge


def draw_features(count: int, seed: int) -> Floats:
    """(count, DEPTH) float32, of unit length, none below 0."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((CENTRES, FACTORS), dtype=np.float32)
    loadings = generator.standard_normal((FACTORS, DEPTH), dtype=np.float32) / np.float32(FACTORS**0.5)
    features = np.empty((count, DEPTH), np.float32)
    for start in range(0, count, BLOCK):
        rows = features[start : start + BLOCK]
        generator.standard_normal(out=rows, dtype=np.float32)
        factors = generator.standard_normal((len(rows), FACTORS), dtype=np.float32) / 2
        rows /= 2
        rows += (centres[generator.integers(CENTRES, size=len(rows))] + factors) @ loadings
        np.maximum(rows, 0, out=rows)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return features


def draw_vlads(count: int, seed: int) -> Floats:
    """(count, CLUSTERS * DEPTH) float32, of unit length."""
    generator = np.random.default_rng(seed)
    scales = np.arange(1, VLAD_FACTORS + 1, dtype=np.float32) ** -0.25
    loadings = generator.standard_normal((VLAD_FACTORS, CLUSTERS * DEPTH), dtype=np.float32) * scales[:, np.newaxis]
    vlads = np.empty((count, CLUSTERS * DEPTH), np.float32)
    for start in range(0, count, BLOCK):
        rows = vlads[start : start + BLOCK]
        generator.standard_normal(out=rows, dtype=np.float32)
        rows *= 3
        rows += generator.standard_normal((len(rows), VLAD_FACTORS), dtype=np.float32) @ loadings
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return vlads


def table(task: str, timings: dict[str, timing.Timing], peer: timing.Timing | None, threads: int) -> Iterable[Row]:
    for name, measured in timings.items():
        to_peer = measured.ratio(peer) if peer else None
        cpu = float(np.median(measured.cpu_seconds))
        yield Row(task, name, threads, measured.median, cpu, to_peer, measured.peak_bytes, measured.quality)


def show(title: str, rows: list[Row]) -> None:
    timing.print_table(
        title,
        ["", "seconds", "CPU seconds", "to peer", *rows[0].quality, "peak beyond the input"],
        [
            (
                row.name,
                f"{row.seconds:.1f}",
                f"{row.cpu_seconds:.1f}",
                "" if row.to_peer is None else f"{row.to_peer:.2f}",
                *(f"{value:.5f}" for value in row.quality.values()),
                f"{row.peak_bytes / 2**20:.0f} MiB",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
