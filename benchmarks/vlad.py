"""How fast is the VLAD kernel, beside the matrix product that it contains and beside other ways to the same result?

    python benchmarks/vlad.py [--json OUT] [--rounds 15] [--seed 0]

Prints, for one thread and for all: the median time per image, its ratios to the bare matrix product and to
`encode_vlad` (medians of the ratios within each round), and the largest absolute error of the descriptors against a
float64 computation; then how product and kernel scale with the threads, and what the first call in a process costs.
Install ``tfvlad[bench]`` for all contenders.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import timing

SHAPES = ((784, 512, 100), (3136, 256, 100), (196, 512, 256), (1225, 288, 64))
BATCH = 16
LEAST = 0.1  # seconds of a timing
PRODUCT, KERNEL = "matrix product", "encode_vlad"

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

FIRST_CALL = """
import time
import numpy as np
start = time.perf_counter()
from tfvlad_kernels import encode_vlad
imported = time.perf_counter()
encode_vlad(np.ones((16, 30, 8), np.float32), np.ones((3, 8), np.float32))
print(imported - start, time.perf_counter() - imported)
"""


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


@dataclasses.dataclass(frozen=True)
class FirstCall:
    """Seconds that a new process takes for its first descriptors, with an empty and with a filled cache of compiles."""

    threads: int
    cache: str
    import_seconds: float
    call_seconds: float


def main() -> None:
    arguments = timing.parser(__doc__, rounds=15).parse_args()
    rows: list[Row] = []
    missing: list[str] = []
    for threads in timing.all_threads():
        for shape in SHAPES:
            features, centroids = synthetic(*shape, seed=arguments.seed)
            given = (features, centroids, reference(features, centroids))
            timings, absent = timing.compare(CONTENDERS, given, threads, arguments.rounds, LEAST)
            missing += absent
            found = [
                Row(
                    threads,
                    *shape,
                    name,
                    ms_per_image=measured.median / BATCH * 1e3,
                    to_product=measured.ratio(timings[PRODUCT]),
                    to_kernel=measured.ratio(timings[KERNEL]),
                    max_error=measured.quality.get("max error"),
                )
                for name, measured in timings.items()
            ]
            print_rows(found)
            rows += found
    print_scaling(rows)
    first_calls = [call for threads in timing.all_threads() for call in time_first_calls(threads)]
    print_first_calls(first_calls)
    timing.print_missing(missing)
    timing.write_json(arguments.json, [*rows, *first_calls], missing)


def synthetic(length: int, depth: int, clusters: int, seed: int) -> tuple[npt.NDArray[np.float32], Floats]:
    """Draws non-negative unit-length features, as of a ReLU layer, (B, N, D), and means of some of them, (K, D)."""
    generator = np.random.default_rng(seed)
    features = np.maximum(generator.standard_normal((BATCH, length, depth), dtype=np.float32), 0)
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    drawn = generator.choice(BATCH * length, (clusters, 8))
    return features, features.reshape(-1, depth)[drawn].mean(axis=1)


def bare_product(features: Floats, centroids: Floats, *_: Floats) -> timing.Prepared:
    """All scores, and nothing done with them; the output is allocated once."""
    rows, transposed = features.reshape(-1, features.shape[-1]), np.ascontiguousarray(centroids.T)
    scores = np.empty((len(rows), len(centroids)), np.float32)
    return lambda: np.dot(rows, transposed, out=scores), lambda _: {}


def kernel(features: Floats, centroids: Floats, expected: Floats) -> timing.Prepared:
    """The kernel; the output is allocated once, as the matrix product's is."""
    from tfvlad_kernels import encode_vlad

    vlads = np.empty(expected.shape, np.float32)
    return lambda: encode_vlad(features, centroids, out=vlads), error_from(expected)


def one_hot(features: Floats, centroids: Floats, expected: Floats) -> timing.Prepared:
    transposed, half_norms = np.ascontiguousarray(centroids.T), np.sum(centroids**2, axis=1) / 2

    def run() -> Floats:
        labels = np.argmax(features @ transposed - half_norms, axis=2)
        members = np.eye(len(centroids), dtype=np.float32)[labels]  # (B, N, K)
        sums = members.transpose(0, 2, 1) @ features  # (B, K, N) @ (B, N, D) -> (B, K, D)
        return normalized(sums - members.sum(axis=1)[:, :, np.newaxis] * centroids)

    return run, error_from(expected)


def scikit_learn(features: Floats, centroids: Floats, expected: Floats) -> timing.Prepared:
    from sklearn.metrics import pairwise_distances_argmin

    rows = features.reshape(-1, features.shape[2])
    return (
        lambda: with_labels(features, centroids, pairwise_distances_argmin(rows, centroids)),
        error_from(expected),
    )


def faiss(features: Floats, centroids: Floats, expected: Floats) -> timing.Prepared:
    import faiss

    rows, index = features.reshape(-1, features.shape[2]), faiss.IndexFlatL2(features.shape[2])
    index.add(centroids)
    return lambda: with_labels(features, centroids, index.search(rows, 1)[1]), error_from(expected)


def pyvisim(features: Floats, centroids: Floats, expected: Floats) -> timing.Prepared:
    from pyvisim.classic import VLADEmbedder
    from pyvisim.features import Lambda
    from sklearn.cluster import KMeans

    # Stand-ins for images, one pixel each, whose value says which features to hand over.
    extractor = Lambda(lambda image: features[image.flat[0]], features.shape[2])
    embedder = VLADEmbedder(extractor, n_clusters=len(centroids))
    fitted = KMeans(len(centroids))
    fitted.cluster_centers_ = centroids
    # It has no public way to take a codebook from elsewhere.
    embedder._set_clustering_model(embedder.clustering_model.from_sklearn(fitted))
    pixels = list(np.arange(len(features), dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3))
    return lambda: embedder.embed(pixels), error_from(expected)


CONTENDERS: dict[str, timing.Prepare] = {
    PRODUCT: bare_product,
    KERNEL: kernel,
    "NumPy, one-hot": one_hot,
    "scikit-learn + NumPy": scikit_learn,
    "faiss + NumPy": faiss,
    "pyvisim": pyvisim,
}


def error_from(expected: Floats) -> Callable[[Floats], dict[str, float]]:
    return lambda vlads: {"max error": float(np.abs(vlads - expected).max())}


def reference(features: Floats, centroids: Floats) -> Floats:
    """Computes the descriptors in float64."""
    x, c = features.astype(np.float64), centroids.astype(np.float64)
    return with_labels(x, c, np.argmax(x @ c.T - np.sum(c**2, axis=1) / 2, axis=2))


def with_labels(features: Floats, centroids: Floats, labels: Labels) -> Floats:
    """Sums x - c per image and cluster, in the features' dtype, and normalises: (B, K*D)."""
    sums = np.zeros((len(features), *centroids.shape), features.dtype)
    for image, chosen, image_sums in zip(features, labels.reshape(features.shape[:2]), sums, strict=True):
        for k in np.unique(chosen):
            image_sums[k] = (image[chosen == k] - centroids[k]).sum(axis=0)
    return normalized(sums)


def normalized(sums: Floats) -> Floats:
    """Intra-normalises and L2-normalises (B, K, D) into (B, K*D)."""
    for axis, shape in ((2, sums.shape), (1, (len(sums), -1))):
        sums = sums.reshape(shape)
        norms = np.linalg.norm(sums, axis=axis, keepdims=True)
        sums = sums / np.where(norms > 0, norms, 1)
    return sums


def time_first_calls(threads: int) -> list[FirstCall]:
    """Encodes in two new processes, one after the other, that share a cache which is empty at first."""
    calls = []
    with tempfile.TemporaryDirectory() as folder, timing.pinned(threads):
        for cache in ("cold", "cached"):
            command = [sys.executable, "-c", FIRST_CALL]
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            calls.append(FirstCall(threads, cache, *map(float, output.split())))
    return calls


def print_rows(rows: list[Row]) -> None:
    first = rows[0]
    title = f"N={first.features} D={first.depth} K={first.clusters}, batch {BATCH}, threads {first.threads}"
    timing.print_table(
        title,
        ("", "ms/image", "to product", "to kernel", "max error"),
        (
            (
                row.name,
                f"{row.ms_per_image:.3f}",
                f"{row.to_product:.2f}",
                f"{row.to_kernel:.2f}",
                "" if row.max_error is None else f"{row.max_error:.1e}",
            )
            for row in rows
        ),
    )


def print_scaling(rows: list[Row]) -> None:
    """Prints how many times faster than on one thread product and kernel are."""
    times = {(row.threads, row.features, row.depth, row.clusters, row.name): row.ms_per_image for row in rows}
    more = sorted({row.threads for row in rows} - {1})
    timing.print_table(
        "times faster than on one thread",
        ("N, D, K", "threads", PRODUCT, KERNEL),
        (
            (
                ", ".join(map(str, shape)),
                threads,
                *(f"{times[1, *shape, name] / times[threads, *shape, name]:.2f}" for name in (PRODUCT, KERNEL)),
            )
            for shape, threads in itertools.product(SHAPES, more)
        ),
    )


def print_first_calls(calls: list[FirstCall]) -> None:
    timing.print_table(
        "first call in a new process, seconds",
        ("cache, threads", "import", "call"),
        ((f"{c.cache}, {c.threads}", f"{c.import_seconds:.2f}", f"{c.call_seconds:.2f}") for c in calls),
    )


if __name__ == "__main__":
    main()
