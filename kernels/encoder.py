"""Local features to VLADs: assignment, residual sums and normalisation of each image in one go."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.assignment import Codebook, Labels, label_features, label_range, pack_codebook
from tfvlad_kernels.inputs import Floats, as_batch, as_power, raise_not_finite
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.normalization import normalize
from tfvlad_kernels.residuals import sum_residuals
from tfvlad_kernels.threads import Counter, parallel_kernel, take, thread_count

Bounds = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

_LEAST_BALANCE = 0.8  # of the threads' time, below which whole images are too coarse a share


def encode_vlad(
    features: npt.ArrayLike | Sequence[npt.ArrayLike],
    centroids: npt.ArrayLike,
    intra_norm: bool = True,
    power: float = 1.0,
) -> Floats:
    """Encodes images' local features as VLADs (Jégou et al., CVPR 2010) with hard assignment.

    In this order: residual sums per cluster, intra-normalisation (each cluster's D-vector to unit length;
    Arandjelovic and Zisserman, CVPR 2013), signed power sign(v)|v|^power, and L2 over all K*D values.

    Images are encoded in parallel, on `numba.get_num_threads()` threads and without the GIL. The result has the same
    bits on any number of threads and in any batch. Calls from several Python threads take turns.

    Args:
      features: (B, N, D) float32, float16 or float64 (converted once to float32), or a list or tuple of B arrays
        (N_i, D). Float32 arrays in C order are not copied, lists are.
      centroids: (K, D), likewise.
      intra_norm: whether to intra-normalise.
      power: exponent, above 0 and at most 1; 1 leaves the values alone.

    Returns:
      (B, K*D) float32, of unit length; cluster k is columns k*D to (k+1)*D. Zeros for an image without a feature, or
      all of whose features equal their centroids, and for a cluster without a feature.

    Raises:
      TypeError: another dtype, or a power that is not a number.
      ValueError: another shape or power, or NaN, Inf or magnitudes that overflow float32; for features the message
        names the image by its position.
    """
    power = as_power(power)
    codebook = pack_codebook(centroids)
    clusters, depth = codebook.centroids.shape
    rows, bounds = as_batch(features, depth)
    images = len(bounds) - 1
    vlads = np.empty((images, clusters, depth), np.float32)
    finite = np.empty(images, np.bool_)
    threads = thread_count()
    rounds = -(-images // threads)
    if images >= _LEAST_BALANCE * threads * rounds:
        _encode_images(rows, bounds, codebook, bool(intra_norm), power, vlads, finite)
    else:
        labels = np.empty(len(rows), np.int32)
        label_features(rows, codebook, labels)
        _encode_labelled_images(rows, bounds, labels, codebook.centroids, bool(intra_norm), power, vlads, finite)
    if not finite.all():
        image = int(np.argmin(finite))
        raise_not_finite(f"features[{image}]", features[image])  # type: ignore[index]
    return vlads.reshape(images, clusters * depth)


@parallel_kernel
def _encode_images(
    workers: int,
    counter: Counter,
    features: Floats,
    bounds: Bounds,
    codebook: Codebook,
    intra_norm: bool,
    power: float,
    vlads: Floats,
    finite: Flags,
) -> None:
    for _ in numba.prange(workers):
        b = take(counter)
        while b < finite.shape[0]:
            labels = np.empty(bounds[b + 1] - bounds[b], np.int32)
            finite[b] = label_range(features, bounds[b], codebook, labels) and encode_labelled(
                features, bounds[b], labels, codebook.centroids, intra_norm, power, vlads[b]
            )
            b = take(counter)


@parallel_kernel
def _encode_labelled_images(
    workers: int,
    counter: Counter,
    features: Floats,
    bounds: Bounds,
    labels: Labels,
    centroids: Floats,
    intra_norm: bool,
    power: float,
    vlads: Floats,
    finite: Flags,
) -> None:
    for _ in numba.prange(workers):
        b = take(counter)
        while b < finite.shape[0]:
            found = labels[bounds[b] : bounds[b + 1]]
            finite[b] = (found >= 0).all() and encode_labelled(
                features, bounds[b], found, centroids, intra_norm, power, vlads[b]
            )
            b = take(counter)


@kernel
def encode_labelled(
    features: Floats, start: int, labels: Labels, centroids: Floats, intra_norm: bool, power: float, vlad: Floats
) -> bool:
    """Encodes consecutive features whose nearest centroids are known.

    Args:
      features: (N, D).
      start: the first feature.
      labels: (M,) int32, one for each feature from `start` on.
      centroids: (K, D).
      intra_norm: whether to intra-normalise.
      power: exponent of the signed power.
      vlad: (K, D) float32, written.

    Returns:
      Whether all sums are finite; where not, `vlad` is left unnormalised.
    """
    squares = np.empty(centroids.shape[0])
    sum_residuals(features, start, labels, centroids, vlad, squares)
    return normalize(vlad, squares, intra_norm, power)
