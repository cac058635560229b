"""The compression of local features: from some hundreds of float32 channels to some dozens of bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError
from tfvlad.matching.local_features import MOST_DIMENSIONS, SCALE

Floats = npt.NDArray[np.float32]

_SMALLEST_NORM = 1e-12  # below it a vector counts as zero and stays zero


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of local features to fewer dimensions, after which they are unit vectors of 8 bits per component.

    Attributes:
      components: (D, C) float32, one row for each dimension that is left.
    """

    components: Floats

    @property
    def dim(self) -> int:
        """D, the dimensions left."""
        return len(self.components)

    @classmethod
    def seeded(cls, channels: int, dim: int = 64, seed: int = 0) -> Projection:
        """A fixed random rotation to fewer dimensions: it needs no sample, and nearly keeps cosines.

        So the cells of every encoder can be kept: of one that was fitted long ago, and of one that is served elsewhere.
        PCA with as many dimensions verified no better.

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
        return cls(np.ascontiguousarray(columns.T, np.float32))

    def apply(self, features: Floats) -> npt.NDArray[np.int8]:
        """Projects, L2-normalises and quantises.

        Args:
          features: (N, C) float32, finite.

        Returns:
          (N, D) int8, unit vectors times `SCALE`, rounded; zeros for a feature of zeros.
        """
        projected = features @ self.components.T  # (N, C) @ (C, D) -> (N, D)
        norms = np.linalg.norm(projected, axis=1, keepdims=True)
        quantised: npt.NDArray[np.int8] = np.rint(projected * (SCALE / np.maximum(norms, _SMALLEST_NORM))).astype(
            np.int8
        )
        return quantised
