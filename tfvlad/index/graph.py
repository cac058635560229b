"""Graphs: approximate search among descriptors.

`Graph` is what an index needs of one, and `GraphBackend` how it makes or loads one. There are two of the same method
(hierarchical navigable small worlds, Malkov and Yashunin 2018): `HnswGraph` by hnswlib, and `VoyagerGraph` by voyager,
where hnswlib is not installed. Each keeps a file of its own name, and neither reads the other's: the catalog is the
truth, from which a graph is built anew where its file is missing.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tfvlad.config import IndexConfig

_ONE_THREAD = 1 << 19  # numbers: 4096 vectors of 128
SEED = 100
FILE_NAMES = ("graph.hnsw", "graph.voyager")  # of every backend


class Graph(Protocol):
    """Unit vectors under int64 labels, searched approximately by cosine. One thread at a time may use it.

    Attributes:
      ef_search: candidates that a search keeps: more find more and take longer. Raised to k where k is larger.
      dead: the number of removed labels that still take room in the graph.
    """

    ef_search: int
    dead: int

    def __len__(self) -> int:
        """The number of labels that a search can find."""
        ...

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], total: int = 0) -> None:
        """Adds vectors under labels that the graph has never held.

        Args:
          labels: (n,) int64.
          vectors: (n, dim) float32, unit length.
          total: the number of vectors that will be added, if they come in several calls; n if 0.
        """
        ...

    def remove(self, labels: NDArray[np.int64]) -> None:
        """Removes labels, (n,) int64, from every later result; each must be in the graph, and none removed before."""
        ...

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Finds the k nearest labels of each query.

        Args:
          queries: (q, dim) float32, unit length.
          k: at most `len(self)`.

        Returns:
          Cosines (q, k) float32, best first, and labels (q, k) int64; None if the graph leads a query to fewer than
          k labels.
        """
        ...

    def save(self, path: str) -> str:
        """Writes the graph to a file and returns the file's SHA-256 as hex.

        Raises:
          ArtifactError: the file could not be written whole.
        """
        ...


class GraphBackend(Protocol):
    """A library that makes graphs, and how it keeps them.

    Attributes:
      library: the library's name.
      file_name: the name of the graph's file in an index folder; one of `FILE_NAMES`.
    """

    @property
    def library(self) -> str: ...

    @property
    def file_name(self) -> str: ...

    def make(self, dim: int, config: IndexConfig, capacity: int) -> Graph:
        """Makes an empty graph, with room for `capacity` vectors before it has to grow."""
        ...

    def load(self, path: str, dim: int, config: IndexConfig, dead: int) -> Graph:
        """Reads a file that `Graph.save` wrote, whose digest has been checked.

        Args:
          path: the file.
          dim: length of a vector.
          config: `ef_search` is taken from it.
          dead: of the graph when it was saved.

        Raises:
          ArtifactError: this library cannot read the file.
        """
        ...


def insertion_threads(vectors: NDArray[np.float32], total: int) -> int:
    """The threads that link new vectors, as the libraries take it: 1, or -1 for all cores.

    One thread makes equal graphs of equal insertions. Of more than a few thousand vectors all cores make one, whose
    links depend on their timing.

    Args:
      vectors: (n, dim), those of this call.
      total: the number of vectors that will be added, if they come in several calls.
    """
    return 1 if max(len(vectors), total) * vectors.shape[1] <= _ONE_THREAD else -1
