"""What the rows of the catalog hold, as plain tuples."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Kept:
    """What an index keeps of every image.

    Attributes:
      views: which views have descriptors, see `tfvlad.images.views.parse_views`.
      local_features: cells whose local features are kept, at most; 0 for none.
    """

    views: str = "whole"
    local_features: int = 0


class State(NamedTuple):
    """Which descriptors the catalog holds, told by two counters.

    Ids are never used again and every removal is counted, so that two equal states hold the same descriptors.

    Attributes:
      last_descriptor: the highest descriptor id that was ever given.
      last_removal: the number of descriptors that were ever removed.
    """

    last_descriptor: int = 0
    last_removal: int = 0


class Stamp(NamedTuple):
    """What is known of a file without reading it: while all of it stays, the file is not read again.

    Attributes:
      size: bytes.
      mtime_ns: when its bytes were last changed, in nanoseconds, as whoever changed them says: it can be set back.
      inode: its number in its file system: another file that takes its place has another one. None where the system
        has none, or an index of an earlier format did not store it.
      ctime_ns: when the file, its name or its modification time last changed; nobody can set it. None likewise.
    """

    size: int
    mtime_ns: int
    inode: int | None = None
    ctime_ns: int | None = None


class FileRow(NamedTuple):
    """An indexed file, and the SHA-256 of its bytes."""

    id: int
    stamp: Stamp
    sha256: bytes


class FailureRow(NamedTuple):
    """A file that is no image, and why."""

    id: int
    stamp: Stamp
    reason: str


class EncodedView(NamedTuple):
    """One view of an image: its name and its descriptor, see `to_blob`."""

    view: str
    vector: bytes


class GraphRow(NamedTuple):
    """A graph that was written to a file.

    Attributes:
      state: of the catalog when the graph was written.
      dead: labels that were removed from the graph and still take room in it.
    """

    state: State
    dead: int


class Block(NamedTuple):
    """Some descriptors.

    Attributes:
      descriptors: (n,) int64 ids.
      images: (n,) int64, the image of each.
      vectors: (n, dim) float32.
    """

    descriptors: Ids
    images: Ids
    vectors: NDArray[np.float32]


def to_blob(vector: ArrayLike) -> bytes:
    """Turns a (dim,) descriptor into the little-endian float32 that the catalog stores."""
    return np.asarray(vector, dtype="<f4").tobytes()
