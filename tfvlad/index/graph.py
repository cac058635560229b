"""Graphs: approximate search among descriptors.

`Graph` is what an index needs of one, and `GraphBackend` how it makes or loads one; `HnswGraph` (Malkov and Yashunin
2018, by hnswlib) is the one that there is. hnswlib has a fixed capacity, refuses to delete twice, fails for all queries
when it finds too little for one of them, checks nothing when it writes, and trusts every byte when it reads. No caller
of `HnswGraph` has to know that.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

import hnswlib
import numpy as np
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError

# Up to so many components (4096 vectors of 128 dimensions) are linked by one thread, so that equal insertions make
# equal graphs. Beyond, all cores work, and the links depend on their timing.
_ONE_THREAD = 1 << 19
_SEED = 100


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
      file_name: the name of the graph's file in an index folder.
    """

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


class HnswGraph:
    """A `Graph` by hnswlib. Removed labels stay in it as way points, which a search passes and does not give.

    The class itself is a `GraphBackend`.
    """

    file_name = "graph.hnsw"

    def __init__(self, dim: int, config: IndexConfig, capacity: int = 1) -> None:
        self.ef_search = config.ef_search
        self.dead = 0
        self._index = hnswlib.Index(space="ip", dim=dim)
        self._index.init_index(max(1, capacity), config.m, config.ef_construction, _SEED)

    @classmethod
    def make(cls, dim: int, config: IndexConfig, capacity: int) -> HnswGraph:
        return cls(dim, config, capacity)

    @classmethod
    def load(cls, path: str, dim: int, config: IndexConfig, dead: int) -> HnswGraph:
        # Only files whose digest has been checked come here: a crafted file overflows hnswlib's heap.
        graph = cls(dim, config)
        graph.dead = dead
        graph._index = hnswlib.Index(space="ip", dim=dim)
        try:
            graph._index.load_index(os.fsencode(path))
        except RuntimeError as error:
            raise ArtifactError(path, f"is not for this hnswlib ({error})") from error
        return graph

    def __len__(self) -> int:
        return int(self._index.element_count) - self.dead

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], total: int = 0) -> None:
        if not len(labels):
            return
        needed = int(self._index.element_count) + len(labels)
        if needed > self._index.max_elements:
            self._index.resize_index(max(needed, int(self._index.max_elements * 1.5)))
        components = max(len(vectors), total) * vectors.shape[1]
        self._index.add_items(vectors, labels, num_threads=1 if components <= _ONE_THREAD else -1)

    def remove(self, labels: NDArray[np.int64]) -> None:
        for label in labels.tolist():
            self._index.mark_deleted(label)
        self.dead += len(labels)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        self._index.set_ef(max(k, self.ef_search))
        try:
            labels, distances = self._index.knn_query(queries, k=k)
        except RuntimeError as error:
            if "contiguous 2D array" not in str(error):  # hnswlib's message when it finds fewer than k labels
                raise
            return None
        return 1 - distances, labels.view(np.int64)

    def save(self, path: str) -> str:
        self._index.save_index(os.fsencode(path))  # it reports no failure, so the size is compared
        try:
            if os.path.getsize(path) != self._index.index_file_size():
                raise ArtifactError(path, "could not be written whole; is the disk full?")
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ArtifactError(path, f"cannot be written: {error.strerror}") from error
