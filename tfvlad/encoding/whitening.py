"""PCA-whitening of the vectors that an aggregation gives: fit and apply.

Jégou and Chum, ECCV 2012, section 4; Ng et al. 2015, section 3.3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_EXACT_UP_TO = 2048  # samples, or dimensions of a vector; up to there the exact way costs no more
_CENTRED = 2**23  # values that are centred, in float64, at a time: 64 MiB
_KRYLOV_BLOCKS = 5  # closer to the exact variances than scikit-learn's seven power iterations, at 9 products for 16
_OVERSAMPLING = 10  # directions beyond `dim` in a block
_NO_VARIANCE = 1e-6  # of the first component's; below it a direction is rounding noise that whitening would blow up


class TooFewDirectionsError(ConfigError):
    """The vectors to fit on vary in fewer directions than are to be left.

    Attributes:
      directions: in how many they do.
    """

    def __init__(self, directions: int, message: str) -> None:
        super().__init__(message)
        self.directions = directions


@dataclasses.dataclass(frozen=True)
class Whitening:
    """A rotation to the principal directions, each scaled to unit variance.

    Attributes:
      mean: (D,) float32.
      components: (dim, D) float32, orthonormal rows, the largest variance first.
      variances: (dim,) float32, above 0; a direction is divided by the square root of its own.
    """

    mean: Floats
    components: Floats
    variances: Floats

    @property
    def dim(self) -> int:
        """Dimensions left."""
        return len(self.components)

    def shrunk(self, shrinkage: float) -> Whitening:
        """The same with every variance raised by `shrinkage` times their mean.

        The smallest variances are those of noise, and whitening makes as much of them as of the largest. Raising them
        makes less of them: between the plain whitening at 0 and a mere rotation far above 1. It is the regularisation
        of linear discriminant analysis (Friedman 1989, equation 18), but for a factor that all variances share.
        """
        raised = self.variances.astype(np.float64)
        return dataclasses.replace(self, variances=(raised + shrinkage * raised.mean()).astype(np.float32))

    def folded(self) -> tuple[Floats, Floats]:
        """The same map as ``x @ projection - offset``: projection (D, dim) float32, offset (dim,) float32."""
        scaled = self.components / np.sqrt(self.variances)[:, np.newaxis]
        projection = np.ascontiguousarray(scaled.T, np.float32)
        return projection, np.asarray(self.mean @ projection, np.float32)


def fit_whitening(vlads: Floats, dim: int, seed: int) -> Whitening:
    """Fits PCA-whitening. It makes no centred copy of the sample, which may be large.

    Args:
      vlads: (S, D) float32.
      dim: dimensions to leave.
      seed: of the randomised decomposition that is used for large samples.

    Raises:
      TooFewDirectionsError: the vectors vary in fewer than `dim` directions; the message says in how many they do.
    """
    check_dim(dim, *vlads.shape)
    mean = vlads.mean(axis=0, dtype=np.float64)
    if fits_exactly(vlads.shape, dim):
        components, squares = _exact(vlads, mean, dim)
    else:
        components, squares = _randomised(vlads, mean.astype(np.float32), dim, seed)
    variances = squares / (len(vlads) - 1)
    if variances[0] <= _NO_VARIANCE**2 * np.mean(np.square(vlads[0])):
        raise TooFewDirectionsError(
            0,
            f"the {len(vlads)} images all give the same vector, so that there is nothing to whiten; give images that "
            "differ, or dim=0 for the whole vector",
        )
    spanned = int(np.sum(variances > _NO_VARIANCE * variances[0]))
    if spanned < dim:
        raise TooFewDirectionsError(
            spanned,
            f"dim={dim} is too large: {len(vlads)} images with {vlads.shape[1]} numbers each differ in only {spanned} "
            "directions (a copy adds none, nor does a number that is the same in all); give more images, or dim of "
            f"{spanned} at most",
        )
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1, keepdims=True), axis=1)
    components = components * np.sign(largest)  # of the two directions of an axis, always the same one
    return Whitening(*(np.ascontiguousarray(part, np.float32) for part in (mean, components, variances)))


def fits_exactly(shape: tuple[int, ...], dim: int) -> bool:
    """Whether `fit_whitening` computes the exact principal directions of a sample; else it approximates `dim` of them.

    Args:
      shape: (S, D) of the sample.
      dim: dimensions to leave.
    """
    return min(shape) <= max(_EXACT_UP_TO, _KRYLOV_BLOCKS * (dim + _OVERSAMPLING))


def _exact(vlads: Floats, mean: Doubles, dim: int) -> tuple[Floats, Doubles]:
    """Computes the principal directions from the products of all samples, or of all dimensions where those are fewer.

    It does so in float64: a product squares the range of the values, and float32 would lose the small variances.

    Returns:
      (dim, D) orthonormal rows, and the (dim,) sums of squares along them, the largest first.
    """
    samples, size = vlads.shape
    side = min(samples, size)
    products = np.zeros((side, side))
    for part in _centred(vlads, mean):
        products += part @ part.T if samples <= size else part.T @ part
    squares, vectors = np.linalg.eigh(products)  # the smallest first
    squares, vectors = squares[::-1][:dim], vectors[:, ::-1][:, :dim]
    if samples > size:
        return vectors.T.astype(np.float32), squares
    lengths = np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny))[:, np.newaxis]
    rows = [(vectors.T @ part / lengths).astype(np.float32) for part in _centred(vlads, mean)]
    return np.concatenate(rows, axis=1), squares


def _centred(vlads: Floats, mean: Doubles) -> Iterator[Doubles]:
    """Yields the centred sample in parts: of columns where samples are fewer than dimensions, else of rows."""
    samples, size = vlads.shape
    step = max(1, _CENTRED // min(samples, size))
    if samples <= size:
        yield from (vlads[:, i : i + step] - mean[i : i + step] for i in range(0, size, step))
    else:
        yield from (vlads[i : i + step] - mean for i in range(0, samples, step))


def _randomised(vlads: Floats, mean: Floats, dim: int, seed: int) -> tuple[Floats, Doubles]:
    """Approximates the principal directions in a block Krylov space (Musco and Musco 2015, algorithm 2).

    Returns:
      As `_exact`.
    """
    samples, size = vlads.shape
    width = dim + _OVERSAMPLING
    basis = np.empty((size, _KRYLOV_BLOCKS * width), np.float32)  # orthonormal columns
    scores = np.empty((samples, _KRYLOV_BLOCKS * width), np.float32)  # of the centred sample, in that basis
    block = np.random.default_rng(seed).standard_normal((size, width), dtype=np.float32)
    for start in range(0, basis.shape[1], width):
        if start:
            block = vlads.T @ scores[:, start - width : start]  # (D, S) @ (S, width); centred, as the scores are
        found, new = basis[:, :start], slice(start, start + width)
        for _ in range(2):  # once leaves a rounding error as large as the block is close to what was found
            block, _ = np.linalg.qr(block - found @ (found.T @ block))
        basis[:, new] = block
        scores[:, new] = vlads @ block - mean @ block
    exact = scores.astype(np.float64)
    squares, vectors = np.linalg.eigh(exact.T @ exact)  # the smallest first
    return (basis @ vectors[:, ::-1][:, :dim].astype(np.float32)).T, squares[::-1][:dim]


def check_dim(dim: int, samples: int, size: int) -> None:
    """Refuses a `dim` that so many vectors of `size` numbers cannot give, before the work is done.

    Raises:
      ConfigError: the message says which `dim` is the largest possible one.
    """
    largest = min(samples - 1, size)
    if dim > largest:
        raise ConfigError(
            f"dim={dim} is too large: {samples} images and vectors of {size} dimensions give {max(largest, 0)} at "
            "most; give more images, a smaller dim, or dim=0 for the whole vector"
        )
