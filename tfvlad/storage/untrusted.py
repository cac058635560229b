"""Files and folders that anybody may have made: they are looked at before anything in them is loaded.

An encoder or an index may come from a stranger. A link in its folder could make us read or overwrite a file elsewhere,
and a small compressed array could unpack to more memory than there is.
"""

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


def refuse_links(folder: str) -> None:
    """Makes sure that a folder holds nothing but regular files and folders.

    A link would have us read or write anywhere, and a pipe would keep us waiting for ever.

    Raises:
      ArtifactError: names the first entry that is neither a file nor a folder.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                    raise ArtifactError(entry.path, "is a link, or no regular file; the folder must hold its own files")
    except OSError as error:
        raise ArtifactError(folder, f"cannot be listed: {error.strerror}") from error


def read_arrays(path: str, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
    """Reads float32 arrays from an `.npz` file that must hold exactly these, as `numpy.savez` writes them.

    Args:
      path: the file.
      shapes: array name -> its shape; None stands for any length of at least 1.

    Returns:
      Array name -> float32 array without NaN or infinite values.

    Raises:
      ArtifactError: the file cannot be read, or holds anything else.

    Example:
      ``read_arrays("codebook.npz", {"centroids": (None, 512)})["centroids"]`` is a (K, 512) array for some K.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if len(members) != len(archive.infolist()) or set(members) != {f"{name}.npy" for name in shapes}:
                raise ArtifactError(path, f"must hold {', '.join(shapes)} and nothing else")
            return {name: _read(archive, members[f"{name}.npy"], shape) for name, shape in shapes.items()}
    except ArtifactError:
        raise
    except Exception as error:  # zipfile and numpy raise errors of many types for bytes that are no archive or no array
        raise ArtifactError(path, f"damaged: {error or type(error).__name__}") from None


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shape: Shape) -> Floats:
    path, name = str(archive.filename), member.filename.removesuffix(".npy")
    # Uncompressed, an array cannot be larger than the file; compressed, a kilobyte can stand for a gigabyte.
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
