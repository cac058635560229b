"""The approximate search: an hnswlib graph (Malkov and Yashunin 2018) without hnswlib's traps.

hnswlib has a fixed capacity, refuses to delete twice, fails a whole query batch when one row cannot be filled, checks
nothing when it writes, and trusts every byte when it reads. None of that leaves this file.
"""

from __future__ import annotations

import hashlib
import os

import hnswlib
import numpy as np
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError

# Up to so many components (4096 vectors of 128 dimensions) are linked by one thread, so that equal insertions make
# equal graphs. Beyond, all cores work, and the links depend on their timing.
_ONE_THREAD = 1 << 19
_SEED = 100


class Graph:
    """Unit vectors under int64 labels, searched by cosine. Not thread-safe.

    Attributes:
      ef_search: candidates kept while searching; raised to k where k is larger.
      dead: labels that were removed; their vectors stay in the graph as way points.
    """

    def __init__(self, dim: int, config: IndexConfig, capacity: int = 1) -> None:
        """Makes an empty graph; up to `capacity` vectors it need not grow."""
        self.ef_search = config.ef_search
        self._index = hnswlib.Index(space="ip", dim=dim)
        self._index.init_index(max(1, capacity), config.m, config.ef_construction, _SEED)
        self.dead = 0

    @classmethod
    def load(cls, path: str, dim: int, config: IndexConfig, dead: int) -> Graph:
        """Reads a graph file whose digest has been checked: a crafted one overflows hnswlib's heap.

        Raises:
          RuntimeError: hnswlib does not know the file.
        """
        graph = cls(dim, config)
        graph._index = hnswlib.Index(space="ip", dim=dim)
        graph._index.load_index(os.fsencode(path))
        graph.dead = dead
        return graph

    def __len__(self) -> int:
        return int(self._index.element_count) - self.dead

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], total: int = 0) -> None:
        """Links vectors under labels that the graph has never seen.

        Args:
          labels: (n,) int64.
          vectors: (n, dim) float32, unit length.
          total: vectors that come in several calls together with these; n unless told.
        """
        if not len(labels):
            return
        needed = int(self._index.element_count) + len(labels)
        if needed > self._index.max_elements:
            self._index.resize_index(max(needed, int(self._index.max_elements * 1.5)))
        components = max(len(vectors), total) * vectors.shape[1]
        self._index.add_items(vectors, labels, num_threads=1 if components <= _ONE_THREAD else -1)

    def remove(self, labels: NDArray[np.int64]) -> None:
        """Keeps labels, each there and not removed before, out of every later result."""
        for label in labels.tolist():
            self._index.mark_deleted(label)
        self.dead += len(labels)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Finds the k nearest labels of each query.

        Args:
          queries: (q, dim) float32, unit length.
          k: at most `len(self)`.

        Returns:
          Cosines (q, k) float32, best first, and labels (q, k) int64; None where the graph leads some query to fewer
          than k labels.
        """
        self._index.set_ef(max(k, self.ef_search))
        try:
            labels, distances = self._index.knn_query(queries, k=k)
        except RuntimeError as error:
            if "contiguous 2D array" not in str(error):
                raise
            return None
        return 1 - distances, labels.view(np.int64)

    def save(self, path: str) -> str:
        """Writes the graph to a file and returns the file's SHA-256 as hex.

        Raises:
          ArtifactError: the file could not be written whole.
        """
        self._index.save_index(os.fsencode(path))  # fails without a word
        try:
            if os.path.getsize(path) != self._index.index_file_size():
                raise ArtifactError(path, "could not be written whole; is the disk full?")
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ArtifactError(path, f"cannot be written: {error.strerror}") from error
