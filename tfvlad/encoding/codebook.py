"""Fits a codebook: draws a bounded sample of local features, the same number from each image, then runs k-means."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError
from tfvlad_kernels import cluster_sums

Floats = npt.NDArray[np.float32]
T = TypeVar("T", bound=np.generic)

_FEATURES_PER_IMAGE = 32  # at least; so the number of forward passes stays bounded, however many images there are
_SEEDING_SAMPLES = 64  # features per centroid for k-means++, whose cost grows with them
_EARLY_SAMPLES = 1024  # features per centroid in Lloyd's early iterations; more do not make them any better
_MOST_ITERATIONS = 100
_TOLERANCE = 1e-4  # an iteration that lowers the inertia by a smaller share is the last


def images_to_sample(images: int, samples: int, seed: int) -> npt.NDArray[np.intp]:
    """Chooses which images a sample of features is drawn from.

    Returns:
      (M,) sorted positions: all images, or a random part where even 32 features of each would be too many.
    """
    most = max(1, samples // _FEATURES_PER_IMAGE)
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(seed).choice(images, most, replace=False))


class FeatureSample:
    """Draws the same number of random local features from every image, and keeps a bounded number in all.

    Args:
      images: how many images will be added.
      samples: features to keep, at most.
      seed: makes the choice reproducible.
    """

    def __init__(self, images: int, samples: int, seed: int) -> None:
        self._share = share(images, samples)
        self._samples = samples
        self._seed = seed
        self._drawn: list[tuple[int, Floats]] = []

    def add(self, position: int, features: Floats) -> None:
        """Draws from one image.

        Args:
          position: where the image stands in the input.
          features: (N, C) float32.
        """
        chosen = draw(position, len(features), self._share, self._seed)
        self._drawn.append((position, features[chosen]))

    def features(self) -> Floats:
        """Returns all features that were drawn: (S, C) float32, S at most `samples`."""
        drawn = np.concatenate([features for _, features in sorted(self._drawn, key=lambda one: one[0])])
        return bounded(drawn, self._samples, self._seed)


def share(images: int, samples: int) -> int:
    """The number of features that each image gives to a sample."""
    return -(-samples // max(images, 1))


def draw(position: int, features: int, share: int, seed: int) -> npt.NDArray[np.intp]:
    """Chooses `share` of an image's features at random, or all where there are fewer.

    The choice depends on the image's position and the seed, and not on the order in which images arrive.

    Returns:
      (n,) the sorted rows of the chosen features.
    """
    return np.sort(np.random.default_rng((seed, position)).permutation(features)[:share])


def bounded(drawn: npt.NDArray[T], samples: int, seed: int) -> npt.NDArray[T]:
    """Keeps `samples` random rows of what was drawn from all images, in their order, or all where there are fewer."""
    if len(drawn) <= samples:
        return drawn
    keep = np.random.default_rng(seed).permutation(len(drawn))[:samples]
    return np.asarray(drawn[np.sort(keep)])


def fit_codebook(features: Floats, clusters: int, seed: int) -> Floats:
    """Fits centroids by k-means: k-means++ seeding (Arthur and Vassilvitskii 2007), then Lloyd's iterations.

    scikit-learn does the seeding. The iterations run on our own assignment kernel, which is as fast as a matrix product
    and, unlike scikit-learn, gives the same bits on any number of threads. They first converge on a random part of the
    features, at a fraction of the cost, and then on all of them. Beside the features this needs memory for that part:
    1024 * K * C floats.

    Args:
      features: (S, C) float32.
      clusters: K.
      seed: makes the result reproducible.

    Returns:
      (K, C) float32 centroids.

    Raises:
      ConfigError: there are fewer different features than clusters.
    """
    from sklearn.cluster import kmeans_plusplus
    from threadpoolctl import threadpool_limits

    if len(features) < clusters:
        raise ConfigError(f"clusters={clusters} is too many for {len(features)} local features; give more images")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(features))
    seeding = features[np.sort(order[: _SEEDING_SAMPLES * clusters])]
    with threadpool_limits(1):  # its products are small: threads would wait for each other, and change the rounding
        centroids = np.asarray(kmeans_plusplus(seeding, clusters, random_state=seed)[0], np.float32)
    if len(features) > _EARLY_SAMPLES * clusters:
        centroids = _lloyd(features[np.sort(order[: _EARLY_SAMPLES * clusters])], centroids, generator)
    return _lloyd(features, centroids, generator)


def _lloyd(features: Floats, centroids: Floats, generator: np.random.Generator) -> Floats:
    """Iterates until the inertia hardly falls any more; a cluster without a feature restarts at a random one."""
    before = np.inf
    for _ in range(_MOST_ITERATIONS):
        counts, sums, inertia = cluster_sums(features, centroids)
        empty = counts == 0
        centroids = (sums / np.maximum(counts, 1)[:, np.newaxis]).astype(np.float32)
        centroids[empty] = features[generator.integers(len(features), size=int(empty.sum()))]
        if inertia >= before * (1 - _TOLERANCE) and not empty.any():
            break
        before = inertia
    return centroids
