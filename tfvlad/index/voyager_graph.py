"""The graph by voyager, which has wheels for Linux, macOS and Windows and so needs no compiler.

voyager fails for all queries when it finds too little for one of them, and trusts every byte when it reads. No caller
of `VoyagerGraph` has to know that.
"""

from __future__ import annotations

import hashlib

import numpy as np
import voyager
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index.graph import SEED, insertion_threads


class VoyagerGraph:
    """A `tfvlad.index.graph.Graph` by voyager. Removed labels stay in it as way points, as in `HnswGraph`.

    The class itself is a `tfvlad.index.graph.GraphBackend`.
    """

    library = "voyager"
    file_name = "graph.voyager"

    def __init__(self, dim: int, config: IndexConfig, capacity: int = 1) -> None:
        self.ef_search = config.ef_search
        self.dead = 0
        self._index = voyager.Index(
            voyager.Space.Cosine, dim, config.m, config.ef_construction, SEED, max_elements=max(1, capacity)
        )

    @classmethod
    def make(cls, dim: int, config: IndexConfig, capacity: int) -> VoyagerGraph:
        return cls(dim, config, capacity)

    @classmethod
    def load(cls, path: str, dim: int, config: IndexConfig, dead: int) -> VoyagerGraph:
        # Only files whose digest has been checked come here.
        graph = cls(dim, config)
        graph.dead = dead
        try:
            with open(path, "rb") as file:
                graph._index = voyager.Index.load(file)
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(path, f"is not for this voyager ({error})") from error
        if graph._index.num_dimensions != dim:
            raise ArtifactError(path, f"holds vectors of {graph._index.num_dimensions} numbers, not of {dim}")
        return graph

    def __len__(self) -> int:
        return int(self._index.num_elements) - self.dead

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], total: int = 0) -> None:
        if not len(labels):
            return
        needed = int(self._index.num_elements) + len(labels)
        if needed > self._index.max_elements:
            self._index.resize(max(needed, int(self._index.max_elements * 1.5)))
        self._index.add_items(_writable(vectors), labels.tolist(), num_threads=insertion_threads(vectors, total))

    def remove(self, labels: NDArray[np.int64]) -> None:
        for label in labels.tolist():
            self._index.mark_deleted(label)
        self.dead += len(labels)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        try:
            labels, distances = self._index.query(_writable(queries), k, query_ef=max(k, self.ef_search))
        except voyager.RecallError:  # fewer than k labels
            return None
        return 1 - distances, labels.view(np.int64)

    def save(self, path: str) -> str:
        try:
            with open(path, "w+b") as file:
                self._index.save(file)
                file.seek(0)
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ArtifactError(path, f"cannot be written: {error.strerror}") from error


def _writable(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors, copied where they may not be written to: voyager takes no other arrays, though it only reads."""
    return np.require(vectors, requirements=["C", "W"])
