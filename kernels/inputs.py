"""What the public functions accept, and the one line that says what is wrong with anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_DTYPES = (np.float16, np.float32, np.float64)


def as_centroids(centroids: npt.ArrayLike) -> Floats:
    """Returns (K, D) float32, C-contiguous; K and D are at least 1."""
    array = _as_matrix("centroids", centroids)
    if 0 in array.shape:
        raise ValueError(f"centroids must have at least one row and one column, got shape {array.shape}")
    return _as_float32(array)


def as_features(features: npt.ArrayLike, depth: int) -> Floats:
    """Returns (N, D) float32, C-contiguous."""
    return _as_float32(_as_matrix("features", features, depth))


def as_batch(features: npt.ArrayLike | Sequence[npt.ArrayLike], depth: int) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Lays a batch out in one piece.

    Args:
      features: (B, N, D) array, or a list or tuple of B arrays (N_i, D).
      depth: D.

    Returns:
      (sum of N_i, D) float32 features, C-contiguous, and (B + 1,) bounds: image i is rows bounds[i] to bounds[i + 1].
    """
    if isinstance(features, list | tuple):
        images = [_as_matrix(f"features[{i}]", image, depth) for i, image in enumerate(features)]
        bounds = np.cumsum([0, *map(len, images)], dtype=np.intp)
        rows = np.empty((bounds[-1], depth), np.float32)
        with np.errstate(over="ignore"):
            for image, start in zip(images, bounds, strict=False):
                rows[start : start + len(image)] = image
        return _as_float32(rows), bounds
    array = _as_floats("features", np.asarray(features))
    if array.ndim != 3:
        raise ValueError(f"features must have shape (B, N, D) or be a list of (N, D) arrays, got shape {array.shape}")
    _check_depth("features", array, depth)
    images, length, _ = array.shape
    return _as_float32(array).reshape(images * length, depth), np.arange(images + 1, dtype=np.intp) * length


def as_power(power: float) -> float:
    """Returns the exponent, above 0 and at most 1."""
    if isinstance(power, bool) or not isinstance(power, int | float | np.floating | np.integer):
        raise TypeError(f"power must be a number above 0 and at most 1, got {power!r}")
    if not 0 < power <= 1:
        raise ValueError(f"power must be above 0 and at most 1, got {power!r}")
    return float(power)


def as_output(out: Floats | None, shape: tuple[int, ...], *read: Floats) -> Floats:
    """Returns what is to be written to, apart from what is read: `out` itself, or a new array where there is none."""
    if out is None:
        return np.empty(shape, np.float32)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        raise TypeError(f"out must be a float32 array, got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got shape {out.shape}")
    if not out.flags.carray:
        raise ValueError("out must be writeable, aligned and in C order, without gaps")
    if any(np.may_share_memory(out, array) for array in read):
        raise ValueError("out must not share memory with features or centroids")
    return out


def raise_not_finite(name: str, values: npt.ArrayLike) -> NoReturn:
    """Says why arithmetic on (N, D) values met a number that is not finite."""
    array = np.asarray(values)
    damaged = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(damaged):
        raise ValueError(
            f"{name} must be finite, got NaN or Inf in {len(damaged)} of {len(array)} rows, first in row {damaged[0]}"
        )
    raise ValueError(
        f"{name} must be small enough for float32 arithmetic, got magnitudes up to {np.abs(array).max():.3g}"
    )


def _as_matrix(name: str, values: npt.ArrayLike, depth: int | None = None) -> npt.NDArray[Any]:
    array = _as_floats(name, values)
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape ({'K' if depth is None else 'N'}, D), got shape {array.shape}")
    if depth is not None:
        _check_depth(name, array, depth)
    return array


def _as_floats(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.newbyteorder("=") not in _DTYPES:
        raise TypeError(f"{name} must be float16, float32 or float64, got {array.dtype}")
    return array


def _check_depth(name: str, array: npt.NDArray[Any], depth: int) -> None:
    if array.shape[-1] != depth:
        raise ValueError(f"{name} must have D={depth} columns like the centroids, got shape {array.shape}")


def _as_float32(array: npt.NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):  # what overflows becomes Inf, which the kernels find
        converted = np.require(array, np.float32, ["C", "A"])
    view = converted.view()
    view.flags.writeable = False  # Numba compiles anew for arrays that are read-only: let all be
    return view
