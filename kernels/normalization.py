"""The normalisations of a VLAD, in this order: intra, signed power, global L2. All in place; zeros stay zero.

Sums of squares are kept in float64, so that neither tiny nor huge residuals under- or overflow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfvlad_kernels.inputs import Floats
from tfvlad_kernels.jit import kernel, reduction

Counts = npt.NDArray[np.intp]
Doubles = npt.NDArray[np.float64]


@kernel
def normalize(vlad: Floats, counts: Counts, intra_norm: bool, power: float) -> bool:
    """Normalises one image's residual sums.

    Intra-normalisation scales each cluster's residual to unit length (Arandjelovic and Zisserman 2013, section 3.2).
    Where no power comes between, it is done in one multiplication with the global norm.

    Args:
      vlad: (K, D) float32, changed in place; zeroed for a cluster without a feature, whatever was there.
      counts: (K,) intp, how many features each cluster has.
      intra_norm: whether to intra-normalise.
      power: exponent; 1 leaves the values alone.

    Returns:
      Whether all values are finite; where not, they are left as they were.
    """
    factors = np.zeros(vlad.shape[0])
    total = 0.0
    for k in range(vlad.shape[0]):
        if counts[k] == 0:
            vlad[k] = 0
            continue
        squares = squared_norm(vlad[k])
        if squares != 0:
            factors[k] = 1 / np.sqrt(squares) if intra_norm else 1.0
            total += squares * factors[k] ** 2  # NaN where it is Inf * 0
    if not np.isfinite(total):
        return False
    if power != 1:
        scale_clusters(vlad, factors, 1.0)
        total = 0.0
        for k in range(vlad.shape[0]):
            if factors[k] != 0:
                signed_power(vlad[k], power)
                total += squared_norm(vlad[k])
                factors[k] = 1.0
    if total > 0:
        scale_clusters(vlad, factors, 1 / np.sqrt(total))
    return True


@kernel
def scale_clusters(vlad: Floats, factors: Doubles, common: float) -> None:
    """Multiplies each cluster's residual by its factor and by a common one; those with factor 0 are zero already.

    In float64: the factor for residuals near float32's smallest number is beyond its largest.
    """
    for k in range(vlad.shape[0]):
        factor = factors[k] * common
        if factor != 0:
            for d in range(vlad.shape[1]):
                vlad[k, d] = np.float64(vlad[k, d]) * factor


@kernel
def signed_power(vector: Floats, power: float) -> None:
    """Replaces each v by sign(v)|v|^power (Jégou et al. 2012, section 3.1)."""
    for i in range(vector.shape[0]):
        value = vector[i]
        magnitude = np.sqrt(abs(value)) if power == 0.5 else abs(value) ** power
        vector[i] = np.copysign(magnitude, value)


@reduction
def squared_norm(vector: Floats) -> float:
    """Returns the sum of squares."""
    total = 0.0
    for i in range(vector.shape[0]):
        total += np.float64(vector[i]) * np.float64(vector[i])
    return total
