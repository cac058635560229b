"""The graph by hnswlib.

hnswlib has a fixed capacity, refuses to delete twice, fails for all queries when it finds too little for one of them,
checks nothing when it writes, and trusts every byte when it reads. No caller of `HnswGraph` has to know that.
"""

from __future__ import annotations

import hashlib
import os

import hnswlib
import numpy as np
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.graph import SEED, insertion_threads


class HnswGraph:
    """A `tfvlad.index.graph.Graph` by hnswlib. Removed labels stay in it as way points.

    The class itself is a `tfvlad.index.graph.GraphBackend`.
    """

    library = "hnswlib"
    file_name = "graph.hnsw"

    def __init__(self, dim: int, config: IndexConfig, capacity: int = 1) -> None:
        self.ef_search = config.ef_search
        self.dead = 0
        self._index = hnswlib.Index(space="ip", dim=dim)
        self._index.init_index(max(1, capacity), config.m, config.ef_construction, SEED)

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
        self._index.add_items(vectors, labels, num_threads=insertion_threads(vectors, total))

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
