"""Arrays from an `.npz` file that nobody vouches for: looked at before anything is allocated or read."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ArtifactError

Floats = npt.NDArray[np.float32]
Shape = tuple[int | None, ...]


def read_arrays(path: str, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
    """Reads exactly these float32 arrays, as `numpy.savez` writes them.

    Args:
      path: the file.
      shapes: of each array; None is any length.

    Raises:
      ArtifactError: the file holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if len(members) != len(archive.infolist()) or set(members) != {f"{name}.npy" for name in shapes}:
                raise ArtifactError(path, f"must hold {', '.join(shapes)} and nothing else")
            return {name: _read(archive, members[f"{name}.npy"], shape) for name, shape in shapes.items()}
    except ArtifactError:
        raise
    except Exception as error:  # whatever zipfile and numpy make of bytes that are neither
        raise ArtifactError(path, f"damaged: {error or type(error).__name__}") from None


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shape: Shape) -> Floats:
    path, name = str(archive.filename), member.filename.removesuffix(".npy")
    # Stored as it is, an array cannot be larger than the file; compressed, a kilobyte can stand for a gigabyte.
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > os.path.getsize(path):
        raise ArtifactError(path, f"{name} is compressed, or larger than the file")
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ArtifactError(path, f"{name} is not in version 1.0 of the npy format")
        found, _, dtype = np.lib.format.read_array_header_1_0(file)
        fits = len(shape) == len(found) and all(want in (None, got) for want, got in zip(shape, found, strict=True))
        if dtype != np.float32 or not fits:
            raise ArtifactError(path, f"{name} must be float32 of shape {shape}, got {dtype} {found}")
        if min(found) < 1 or 4 * math.prod(found) != member.file_size - file.tell():
            raise ArtifactError(path, f"{name} has the shape {found}, which is not what the file holds")
        file.seek(0)
        array: Floats = np.lib.format.read_array(file, allow_pickle=False)
    if not np.isfinite(array).all():
        raise ArtifactError(path, f"{name} holds NaN or infinite values")
    return array
