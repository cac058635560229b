"""Local features to VLADs: assignment, residual sums and normalisation of each image in one go."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from tfvlad_kernels.assignment import Labels, label_features, label_tile
from tfvlad_kernels.codebook import Codebook, pack_codebook
from tfvlad_kernels.inputs import Floats, as_batch, as_output, as_power, raise_not_finite
from tfvlad_kernels.jit import kernel
from tfvlad_kernels.normalization import Counts, normalize
from tfvlad_kernels.residuals import add_residuals
from tfvlad_kernels.scratch import new_scratch
from tfvlad_kernels.threads import Counter, parallel_kernel, take, thread_count

Bounds = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

_LEAST_BALANCE = 0.8  # of the threads' time, below which whole images are too coarse a share


def encode_vlad(
    features: npt.ArrayLike | Sequence[npt.ArrayLike],
    centroids: npt.ArrayLike,
    intra_norm: bool = True,
    power: float = 1.0,
    out: Floats | None = None,
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
      out: (B, K*D) float32 in C order, to be written to and returned, which spares large batches the time that the
        system takes to hand out memory. Its values are undefined after an error.

    Returns:
      (B, K*D) float32, of unit length; cluster k is columns k*D to (k+1)*D. Zeros for an image without a feature, or
      all of whose features equal their centroids, and for a cluster without a feature.

    Raises:
      TypeError: another dtype, or a power that is not a number.
      ValueError: another shape or power, an `out` that cannot be written to as it stands, or NaN, Inf or magnitudes
        that overflow float32; for features the message names the image by its position.
    """
    power = as_power(power)
    codebook = pack_codebook(centroids)
    clusters, depth = codebook.centroids.shape
    rows, bounds = as_batch(features, depth)
    images = len(bounds) - 1
    written = as_output(out, (images, clusters * depth), rows, codebook.centroids)
    vlads = written.reshape(images, clusters, depth)
    finite = np.empty(images, np.bool_)
    threads = thread_count()
    rounds = -(-images // threads)
    if images >= _LEAST_BALANCE * threads * rounds:
        _encode_images(images, rows, bounds, codebook, bool(intra_norm), power, vlads, finite)
    else:
        labels = label_features(rows, codebook)
        _encode_labelled(images, rows, bounds, labels, codebook.centroids, bool(intra_norm), power, vlads, finite)
    if not finite.all():
        image = int(np.argmin(finite))
        raise_not_finite(f"features[{image}]", features[image])  # type: ignore[index]
    return written


@parallel_kernel
def _encode_images(
    workers: int,
    counter: Counter,
    images: int,
    features: Floats,
    bounds: Bounds,
    codebook: Codebook,
    intra_norm: bool,
    power: float,
    vlads: Floats,
    finite: Flags,
) -> None:
    for _ in numba.prange(workers):
        counts = np.empty(vlads.shape[1], np.intp)
        b = take(counter)
        while b < images:
            summed = _sum_image(features, bounds[b], bounds[b + 1], codebook, vlads[b], counts)
            finite[b] = summed and normalize(vlads[b], counts, intra_norm, power)
            b = take(counter)


@kernel
def _sum_image(features: Floats, start: int, stop: int, codebook: Codebook, vlad: Floats, counts: Counts) -> bool:
    """Sums the residuals of one image tile by tile, each while it is in the cache; False where one is not finite."""
    counts[:] = 0
    scratch = new_scratch(codebook, stop - start)
    labels = np.empty(scratch.scores.shape[0], np.int32)
    for first in range(start, stop, labels.shape[0]):
        tile = labels[: min(labels.shape[0], stop - first)]
        if not label_tile(features, first, codebook, scratch, tile):
            return False
        add_residuals(features, first, codebook.centroids, tile, vlad, counts)
    return True


@parallel_kernel
def _encode_labelled(
    workers: int,
    counter: Counter,
    images: int,
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
        counts = np.empty(vlads.shape[1], np.intp)
        b = take(counter)
        while b < images:
            found = labels[bounds[b] : bounds[b + 1]]
            summed = _sum_labelled(features, bounds[b], centroids, found, vlads[b], counts)
            finite[b] = summed and normalize(vlads[b], counts, intra_norm, power)
            b = take(counter)


@kernel
def _sum_labelled(
    features: Floats, start: int, centroids: Floats, labels: Labels, vlad: Floats, counts: Counts
) -> bool:
    """Does what `_sum_image` does for an image whose labels are known."""
    for label in labels:
        if label < 0:
            return False
    counts[:] = 0
    add_residuals(features, start, centroids, labels, vlad, counts)
    return True
