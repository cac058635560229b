"""How fast is the VLAD kernel, beside the matrix product that it contains and beside other ways to the same result?

    python benchmarks/vlad.py [--json OUT] [--repetitions 21] [--seed 0]

Prints, for one thread and for all: the median time per image, its ratio to the bare matrix product and to
`encode_vlad` (medians of the ratios within each round, in which all contenders run once), and the largest
absolute error of the descriptors against a float64 computation. Install ``tfvlad[bench]`` for all contenders.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin
from threadpoolctl import threadpool_limits

from tfvlad_kernels import encode_vlad

SHAPES = ((784, 512, 100), (3136, 256, 100), (196, 512, 256), (1225, 288, 64))
BATCH = 16
PAUSE = 0.05  # seconds; the threads of OpenBLAS and OpenMP spin for a while, in the way of whoever comes next
PRODUCT, KERNEL = "matrix product", "encode_vlad"

Floats = npt.NDArray[np.floating[Any]]
Contender = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one shape and one number of threads."""

    threads: int
    features: int
    depth: int
    clusters: int
    name: str
    ms_per_image: float
    to_product: float
    to_kernel: float
    max_error: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there, too")
    parser.add_argument("--repetitions", type=int, default=21)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    missing: set[str] = set()
    rows: list[Row] = []
    for threads in sorted({1, numba.config.NUMBA_NUM_THREADS}):
        for shape in SHAPES:
            features, centroids = synthetic(*shape, seed=arguments.seed)
            numba.set_num_threads(threads)
            with threadpool_limits(threads):
                contenders = contenders_for(features, centroids, missing)
                rows += compare(contenders, reference(features, centroids), shape, threads, arguments.repetitions)
            print_table(rows[-len(contenders) :])
    for name in sorted(missing):
        print(f"not installed, left out: {name}")
    if arguments.json:
        document = {
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "versions": {"numpy": np.__version__, "numba": numba.__version__},
            "batch": BATCH,
            "missing": sorted(missing),
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")


def synthetic(length: int, depth: int, clusters: int, seed: int) -> tuple[npt.NDArray[np.float32], Floats]:
    """Draws non-negative unit-length features, as of a ReLU layer, (B, N, D), and means of some of them, (K, D)."""
    generator = np.random.default_rng(seed)
    features = np.maximum(generator.standard_normal((BATCH, length, depth), dtype=np.float32), 0)
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    drawn = generator.choice(BATCH * length, (clusters, 8))
    return features, features.reshape(-1, depth)[drawn].mean(axis=1)


def contenders_for(features: npt.NDArray[np.float32], centroids: Floats, missing: set[str]) -> dict[str, Contender]:
    """Names each way to compute the VLADs; `missing` receives the packages that are not installed."""
    images, length, depth = features.shape
    rows = features.reshape(-1, depth)
    transposed = np.ascontiguousarray(centroids.T)
    scores = np.empty((len(rows), len(centroids)), np.float32)
    half_norms = np.sum(centroids**2, axis=1) / 2

    def one_hot() -> Floats:
        labels = np.argmax(features @ transposed - half_norms, axis=2)
        members = np.eye(len(centroids), dtype=np.float32)[labels]  # (B, N, K)
        sums = members.transpose(0, 2, 1) @ features  # (B, K, N) @ (B, N, D) -> (B, K, D)
        return normalized(sums - members.sum(axis=1)[:, :, np.newaxis] * centroids)

    def with_labels(labels: npt.NDArray[np.integer[Any]]) -> Floats:
        return normalized(residual_sums(features, centroids, labels.reshape(images, length)))

    contenders: dict[str, Contender] = {
        PRODUCT: lambda: np.dot(rows, transposed, out=scores),
        KERNEL: lambda: encode_vlad(features, centroids),
        "NumPy, one-hot": one_hot,
        "scikit-learn + NumPy": lambda: with_labels(pairwise_distances_argmin(rows, centroids)),
    }
    try:
        import faiss
    except ImportError:
        missing.add("faiss-cpu")
    else:
        index = faiss.IndexFlatL2(depth)
        index.add(centroids)
        contenders["faiss + NumPy"] = lambda: with_labels(index.search(rows, 1)[1])
    try:
        from pyvisim.classic import VLADEmbedder
        from pyvisim.features import Lambda
    except ImportError:
        missing.add("pyvisim")
    else:
        # Stand-ins for images, one pixel each, whose value says which features to hand over.
        embedder = VLADEmbedder(Lambda(lambda image: features[image.flat[0]], depth), n_clusters=len(centroids))
        fitted = KMeans(len(centroids))
        fitted.cluster_centers_ = centroids
        # It has no public way to take a codebook from elsewhere.
        embedder._set_clustering_model(embedder.clustering_model.from_sklearn(fitted))
        pixels = np.arange(images, dtype=np.uint8).reshape(images, 1, 1, 1).repeat(3, axis=3)
        contenders["pyvisim"] = lambda: embedder.embed(list(pixels))
    return contenders


def residual_sums(features: Floats, centroids: Floats, labels: npt.NDArray[np.integer[Any]]) -> Floats:
    """Sums x - c per image and cluster, (B, K, D), in the features' dtype."""
    sums = np.zeros((len(features), *centroids.shape), features.dtype)
    for image, chosen, image_sums in zip(features, labels, sums, strict=True):
        for k in np.unique(chosen):
            image_sums[k] = (image[chosen == k] - centroids[k]).sum(axis=0)
    return sums


def normalized(sums: Floats) -> Floats:
    """Intra-normalises and L2-normalises (B, K, D) into (B, K*D)."""
    for axis, shape in ((2, sums.shape), (1, (len(sums), -1))):
        sums = sums.reshape(shape)
        norms = np.linalg.norm(sums, axis=axis, keepdims=True)
        sums = sums / np.where(norms > 0, norms, 1)
    return sums


def reference(features: Floats, centroids: Floats) -> Floats:
    """Computes the descriptors in float64."""
    x, c = features.astype(np.float64), centroids.astype(np.float64)
    return normalized(residual_sums(x, c, np.argmax(x @ c.T - np.sum(c**2, axis=1) / 2, axis=2)))


def compare(
    contenders: dict[str, Contender], expected: Floats, shape: tuple[int, int, int], threads: int, repetitions: int
) -> list[Row]:
    """Runs all contenders, in another order each time, `repetitions` times."""
    errors: dict[str, float | None] = {}
    for name, contender in contenders.items():  # compiles and warms up, too
        result = contender()
        errors[name] = None if name == PRODUCT else float(np.abs(result - expected).max())
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    order, generator = list(contenders), random.Random(0)
    for _ in range(repetitions):
        generator.shuffle(order)  # what the one before leaves in the caches is luck
        for name in order:
            time.sleep(PAUSE)
            start = time.perf_counter()
            contenders[name]()
            rounds[name].append(time.perf_counter() - start)
    seconds = {name: np.array(times) for name, times in rounds.items()}
    return [
        Row(
            threads,
            *shape,
            name,
            ms_per_image=float(np.median(seconds[name])) / BATCH * 1e3,
            to_product=float(np.median(seconds[name] / seconds[PRODUCT])),
            to_kernel=float(np.median(seconds[name] / seconds[KERNEL])),
            max_error=errors[name],
        )
        for name in contenders
    ]


def print_table(rows: list[Row]) -> None:
    first = rows[0]
    print(f"N={first.features} D={first.depth} K={first.clusters}, batch {BATCH}, threads {first.threads}")
    print(f"  {'':22} {'ms/image':>9} {'to product':>11} {'to kernel':>10} {'max error':>10}")
    for row in rows:
        error = "" if row.max_error is None else f"{row.max_error:.1e}"
        print(f"  {row.name:22} {row.ms_per_image:9.3f} {row.to_product:11.2f} {row.to_kernel:10.2f} {error:>10}")


if __name__ == "__main__":
    main()
