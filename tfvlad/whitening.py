"""PCA-whitening of VLADs: fit and apply (Jégou and Chum, ECCV 2012, section 4; Ng et al. 2015, section 3.3)."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError

Floats = npt.NDArray[np.float32]

_EXACT_UP_TO = 1024  # samples; a full SVD of more takes minutes, the randomised one seconds
_NO_VARIANCE = 1e-6  # of the first component's; below it a direction is rounding noise that whitening would blow up


@dataclasses.dataclass(frozen=True)
class Whitening:
    """A rotation to the principal directions, each scaled to unit variance.

    Attributes:
      mean: (D,) float32.
      components: (dim, D) float32, orthonormal rows, the largest variance first.
      variances: (dim,) float32, above 0.
    """

    mean: Floats
    components: Floats
    variances: Floats

    @property
    def dim(self) -> int:
        """Dimensions left."""
        return len(self.components)

    def folded(self) -> tuple[Floats, Floats]:
        """The same map as ``x @ projection - offset``: projection (D, dim) float32, offset (dim,) float32."""
        scaled = self.components / np.sqrt(self.variances)[:, np.newaxis]
        projection = np.ascontiguousarray(scaled.T, np.float32)
        return projection, np.asarray(self.mean @ projection, np.float32)

    def truncated(self, dim: int) -> Whitening:
        """The first `dim` of its dimensions: what a fit with that many gives."""
        return Whitening(self.mean, self.components[:dim], self.variances[:dim])


def fit_whitening(vlads: Floats, dim: int, seed: int) -> Whitening:
    """Fits PCA-whitening with scikit-learn.

    Args:
      vlads: (S, D) float32.
      dim: dimensions to leave.
      seed: of the randomised SVD that large samples take.

    Raises:
      ConfigError: S vectors do not span `dim` directions of variance; the message says how many they do.
    """
    from sklearn.decomposition import PCA

    check_dim(dim, len(vlads), vlads.shape[1])
    solver = "full" if len(vlads) <= _EXACT_UP_TO else "randomized"
    with np.errstate(invalid="ignore", divide="ignore"):  # of VLADs that are all the same, refused below
        pca = PCA(n_components=dim, svd_solver=solver, random_state=seed).fit(vlads)
    variances = pca.explained_variance_
    spanned = int(np.sum(variances > _NO_VARIANCE * variances[0]))
    if spanned < dim:
        raise ConfigError(
            f"dim={dim} is too large: the images to fit on differ in only {spanned} directions (are there copies "
            f"among them?); give more images, or dim of {spanned} at most"
        )
    return Whitening(*(np.ascontiguousarray(part, np.float32) for part in (pca.mean_, pca.components_, variances)))


def check_dim(dim: int, samples: int, vlad_size: int) -> None:
    """Refuses a `dim` that so many samples cannot give, before the work is done.

    Raises:
      ConfigError: says the largest possible one.
    """
    largest = min(samples - 1, vlad_size)
    if dim > largest:
        raise ConfigError(
            f"dim={dim} is too large: {samples} images and VLADs of {vlad_size} dimensions give {max(largest, 0)} at "
            "most; give more images, a smaller dim, or dim=0 for the whole VLAD"
        )
