"""What an index holds, as arrays: its files, and the descriptors of the image that each shows."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfvlad.index.catalog import Snapshot

_BLOCK = 1 << 14  # descriptors that are read at a time


class Contents(NamedTuple):
    """The n files of an index, by id, and the descriptors of their images' views.

    Attributes:
      files: (n,) int64, ids.
      paths: n paths, each from its folder's own name on, such as ``photos/2024/17.jpg``.
      descriptors: (n, views, dim) float32 of unit length. An image that has fewer views than another has its first one
        several times, which leaves the best of its views' scores as it is.
    """

    files: NDArray[np.int64]
    paths: list[str]
    descriptors: NDArray[np.float32]


def read_contents(snapshot: Snapshot, dim: int, folders: dict[int, str]) -> Contents:
    """Reads what an index holds; files that show the same image have the same descriptors.

    Args:
      snapshot: of the catalog.
      dim: length of a descriptor.
      folders: the path of each root, by its id.
    """
    files, images, paths = [], [], []
    for file, image, root, path in snapshot.files_by_id():
        files.append(file)
        images.append(image)
        paths.append(shown_path(folders[root], path))
    owners = np.array(images, np.int64)
    held, of_image = np.unique(owners, return_inverse=True)  # (m,) images, and which of them each file shows
    rows, counts = [], np.zeros(len(held), np.int64)
    for block in snapshot.blocks(_BLOCK):
        row = np.searchsorted(held, block.images)
        rows.append(row)
        counts += np.bincount(row, minlength=len(held))
    descriptors = np.zeros((len(held), int(counts.max(initial=1)), dim), np.float32)
    filled = np.zeros(len(held), np.int64)
    for row, block in zip(rows, snapshot.blocks(_BLOCK), strict=True):
        # Which of its image's views each descriptor of the block is: as many as come before it.
        order = np.argsort(row, kind="stable")
        first = np.searchsorted(row[order], row[order])
        view = np.empty(len(row), np.int64)
        view[order] = np.arange(len(row)) - first
        descriptors[row, filled[row] + view] = block.vectors
        np.add.at(filled, row, 1)
    for place in range(1, descriptors.shape[1]):
        missing = filled <= place
        descriptors[missing, place] = descriptors[missing, 0]
    one_to_one = np.array_equal(of_image, np.arange(len(held)))
    return Contents(np.array(files, np.int64), paths, descriptors if one_to_one else descriptors[of_image])


def shown_path(folder: str, path: str) -> str:
    """A file's path from its folder's own name on, with slashes; bytes that are no UTF-8 become signs that say so."""
    parts = [os.path.basename(os.path.normpath(folder)), *path.split(os.sep)]
    return "/".join(os.fsencode(part).decode("utf-8", "replace") for part in parts if part)
