"""The compact local features of one view of one image, and the bytes in which they are stored."""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ArtifactError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

SCALE = 127  # a component of a unit vector, times this and rounded, is a component of its int8 descriptor
MOST_CELLS = 2**14
MOST_DIMENSIONS = 512
MOST_PIXELS = 2**27  # of a side
SMALLEST_CELL = 2**-20  # as a fraction of a side; positions in units of smaller ones would overflow

_STEPS = 2**16 - 1  # in which a side of the image is counted
_MAGIC = b"tfvL"
_FORMAT = 1
# Magic, format, D, N, width, height, cell in x and y, checksum of all else; little-endian, 32 bytes.
_HEADER = struct.Struct("<4sHHIIIffI")


@dataclasses.dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Some cells of one view of an image: where they are, and their projected, quantised descriptors.

    Attributes:
      positions: (N, 2) float32, x and y of the cells' centres as fractions (0 to 1) of the whole upright image,
        whatever part of it the view shows; rounded to multiples of 1/65535, so that storing loses nothing more.
      descriptors: (N, D) int8, unit vectors times `SCALE`.
      cell: how much of the image a cell is, as fractions of its width and of its height.
      size: (width, height) of the whole upright image in pixels.

    Raises:
      ValueError: names the part that has another shape or dtype, or is out of its bounds.
    """

    positions: Floats
    descriptors: Bytes
    cell: tuple[float, float]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions, np.float32)
        if self.descriptors.dtype != np.int8 or self.descriptors.ndim != 2:
            kind = f"{self.descriptors.dtype} of shape {self.descriptors.shape}"
            raise ValueError(f"descriptors must be int8 of shape (N, D), got {kind}")
        cells, dimensions = self.descriptors.shape
        if cells > MOST_CELLS or not 1 <= dimensions <= MOST_DIMENSIONS:
            raise ValueError(
                f"there may be {MOST_CELLS} cells of 1 to {MOST_DIMENSIONS} dimensions, got {cells} of {dimensions}"
            )
        if positions.shape != (cells, 2) or not ((positions >= 0) & (positions <= 1)).all():
            raise ValueError(f"positions must be ({cells}, 2) numbers from 0 to 1, got shape {positions.shape}")
        if not all(SMALLEST_CELL <= share <= 1 for share in self.cell):
            raise ValueError(f"cell must be two fractions from {SMALLEST_CELL:.1g} to 1, got {self.cell}")
        if not all(1 <= side <= MOST_PIXELS for side in self.size):
            raise ValueError(f"size must be two numbers of pixels from 1 to {MOST_PIXELS}, got {self.size}")
        # All as it will be read back, so that it makes no difference whether features were stored in between.
        object.__setattr__(self, "positions", _positions(_steps(positions)))
        object.__setattr__(self, "cell", tuple(float(np.float32(share)) for share in self.cell))

    def __len__(self) -> int:
        """N, the number of cells."""
        return len(self.descriptors)

    @property
    def cell_pixels(self) -> float:
        """The side in pixels of a square as large as a cell: the unit in which positions are exact."""
        return math.sqrt(self.cell[0] * self.size[0] * self.cell[1] * self.size[1])

    def in_cells(self) -> Floats:
        """Positions in units of `cell_pixels`, the same in x and y: (N, 2) float32. Geometry is done in these."""
        return self.positions * (np.array(self.size, np.float32) / np.float32(self.cell_pixels))

    def to_bytes(self) -> bytes:
        """The features as they are stored: a header of 32 bytes and D + 4 bytes per cell."""
        body = _steps(self.positions).tobytes() + np.ascontiguousarray(self.descriptors).tobytes()
        cells, dimensions = self.descriptors.shape
        head = (_MAGIC, _FORMAT, dimensions, cells, *self.size, *self.cell)
        return _HEADER.pack(*head, _checksum(_HEADER.pack(*head, 0), body)) + body

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, name: str = "<local features>") -> LocalFeatures:
        """Reads what `to_bytes` wrote. The descriptors are a view of `data`, not a copy.

        Args:
          data: the bytes, which nobody need vouch for.
          name: what stands for them in an error's message, such as the file that they come from.

        Raises:
          ArtifactError: they are of a newer format, or damaged; one line.
        """
        if len(data) < _HEADER.size or bytes(data[:4]) != _MAGIC:
            raise ArtifactError(name, "holds no local features")
        _, version, dimensions, cells, width, height, cell_x, cell_y, checksum = _HEADER.unpack_from(data)
        if version != _FORMAT:
            reason = f"local features of format {version} are not what this tfvlad reads ({_FORMAT}); update tfvlad"
            raise ArtifactError(name, reason)
        if len(data) != _HEADER.size + cells * (dimensions + 4):
            length = f"{len(data)} bytes are not {cells} cells of {dimensions} dimensions"
            raise ArtifactError(name, f"damaged local features: {length}")
        body = memoryview(data)[_HEADER.size :]
        if checksum != _checksum(bytes(data[: _HEADER.size - 4]) + bytes(4), body):
            raise ArtifactError(name, "damaged local features: their checksum does not fit")
        steps = np.frombuffer(body[: 4 * cells], "<u2").reshape(cells, 2)
        descriptors = np.frombuffer(body[4 * cells :], np.int8).reshape(cells, dimensions)
        try:
            return cls(_positions(steps), descriptors, (cell_x, cell_y), (width, height))
        except ValueError as error:
            raise ArtifactError(name, f"damaged local features: {error}") from None


def _steps(positions: Floats) -> npt.NDArray[np.uint16]:
    return np.rint(positions.astype(np.float64) * _STEPS).astype("<u2")


def _positions(steps: npt.NDArray[np.uint16]) -> Floats:
    return (steps / np.float64(_STEPS)).astype(np.float32)


def _checksum(head: bytes, body: bytes | memoryview) -> int:
    return zlib.crc32(body, zlib.crc32(head))
