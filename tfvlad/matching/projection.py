"""PCA of local features: from some hundreds of float32 channels to some dozens of bytes."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError
from tfvlad.matching.local_features import MOST_DIMENSIONS, SCALE
from tfvlad.storage.atomic import atomic_file
from tfvlad.storage.untrusted import read_arrays

Floats = npt.NDArray[np.float32]

_NO_VARIANCE = 1e-9  # of the first component's; below it a direction is rounding noise
_SMALLEST_NORM = 1e-12  # below it a vector counts as zero and stays zero
_CENTRED = 2**14  # features that are centred, in float64, at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of local features to fewer dimensions, after which they are unit vectors of 8 bits per component.

    Attributes:
      mean: (C,) float32.
      components: (D, C) float32, one row for each dimension that is left.
    """

    mean: Floats
    components: Floats

    @property
    def dim(self) -> int:
        """D, the dimensions left."""
        return len(self.components)

    @classmethod
    def fit(cls, features: Floats, dim: int) -> Projection:
        """Fits the projection to the principal directions of a sample.

        Args:
          features: (S, C) float32, local features of many images; some ten thousands are enough.
          dim: D.

        Raises:
          ConfigError: `dim` is out of its bounds, or the sample does not vary in so many directions.
        """
        samples, channels = features.shape
        largest = min(samples - 1, channels, MOST_DIMENSIONS)
        if not 1 <= dim <= largest:
            raise ConfigError(
                f"local features can be projected to 1 to {max(largest, 0)} dimensions, given {samples} samples of "
                f"{channels} channels; got {dim}"
            )
        mean = features.mean(axis=0, dtype=np.float64)
        scatter = np.zeros((channels, channels))
        for start in range(0, samples, _CENTRED):
            centred = features[start : start + _CENTRED] - mean
            scatter += centred.T @ centred  # (C, S) @ (S, C) -> (C, C)
        variances, vectors = np.linalg.eigh(scatter)  # the smallest first
        variances, rows = variances[::-1], vectors.T[::-1][:dim]
        spanned = int(np.sum(variances > max(_NO_VARIANCE * variances[0], 0)))
        if spanned < dim:
            raise ConfigError(f"the local features vary in only {spanned} directions, so there cannot be {dim}")
        largest_values = np.take_along_axis(rows, np.abs(rows).argmax(axis=1, keepdims=True), axis=1)
        rows = rows * np.sign(largest_values)  # of the two directions of an axis, always the same one
        return cls(mean.astype(np.float32), np.ascontiguousarray(rows, np.float32))

    @classmethod
    def seeded(cls, channels: int, dim: int = 64, seed: int = 0) -> Projection:
        """A fixed random rotation to fewer dimensions: it needs no sample, and nearly keeps cosines.

        Johnson and Lindenstrauss 1984: the error of a cosine is of the order of 1 / sqrt(D).

        Args:
          channels: C.
          dim: D.
          seed: with the same one, it is the same projection everywhere.

        Raises:
          ConfigError: `dim` is not from 1 to C, or more than is stored.
        """
        largest = min(channels, MOST_DIMENSIONS)
        if not 1 <= dim <= largest:
            raise ConfigError(f"local features of {channels} channels have 1 to {largest} dimensions, got {dim}")
        # Stored features meet those of later queries: the numbers must never change, which NumPy promises of no other
        # generator (NEP 19).
        drawn = np.random.RandomState(seed).standard_normal((channels, dim))
        columns, upper = np.linalg.qr(drawn)
        columns *= np.sign(np.diag(upper))  # the decomposition with a positive diagonal is the only one
        return cls(np.zeros(channels, np.float32), np.ascontiguousarray(columns.T, np.float32))

    def apply(self, features: Floats) -> npt.NDArray[np.int8]:
        """Centres, projects, L2-normalises and quantises.

        Args:
          features: (N, C) float32, finite.

        Returns:
          (N, D) int8, unit vectors times `SCALE`, rounded; zeros for a feature that equals the mean.
        """
        projected = (features - self.mean) @ self.components.T  # (N, C) @ (C, D) -> (N, D)
        norms = np.linalg.norm(projected, axis=1, keepdims=True)
        quantised: npt.NDArray[np.int8] = np.rint(projected * (SCALE / np.maximum(norms, _SMALLEST_NORM))).astype(
            np.int8
        )
        return quantised

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` file of the two arrays, whole or not at all."""
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, mean=self.mean, components=self.components)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Projection:
        """Reads what `save` wrote.

        Raises:
          ArtifactError: the file is missing, or holds anything else.
        """
        name = os.fsdecode(path)
        channels = len(read_arrays(name, {"mean": (None,), "components": (None, None)})["mean"])
        arrays = read_arrays(name, {"mean": (channels,), "components": (None, channels)})
        return cls(arrays["mean"], arrays["components"])
