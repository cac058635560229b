"""The graph of a catalog: read from `graph.hnsw` where that is genuine, kept current, built anew where it must be."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterator

from tfvlad.errors import ArtifactError
from tfvlad.index.catalog.catalog import Catalog
from tfvlad.index.catalog.reading import GraphRow, Snapshot, State, Version
from tfvlad.index.graph import Graph
from tfvlad.index.ranking import block_size
from tfvlad.storage.atomic import atomic_file, settle

# A graph with a larger share of removed labels is built anew: they cost memory and time in every search.
_MOST_DEAD = 0.3

_log = logging.getLogger(__name__)


class GraphCache:
    """Gives threads, one at a time, a graph that agrees with the catalog.

    Attributes:
      lock: held by whoever uses the graph.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._path = os.path.join(catalog.folder, "graph.hnsw")
        self.lock = threading.Lock()
        self._graph: Graph | None = None
        self._state = State()
        self._version: Version | None = None  # of the catalog, when the graph was last known to agree
        self._saved: State | None = None  # what the file on disk stands for

    def holds(self, descriptors: int) -> bool:
        """Whether a graph of so many is at hand, perhaps of an earlier state."""
        graph = self._graph
        return graph is not None and len(graph) >= descriptors

    def of(self, version: Version) -> Graph | None:
        """The graph, if it is known to agree with this version of the catalog; for the holder of the lock."""
        return self._graph if version == self._version else None

    @contextlib.contextmanager
    def current(self) -> Iterator[tuple[Graph, Snapshot]]:
        """The graph and the very state of the catalog that it stands for; other threads wait for the block's end."""
        with self.lock:
            if self._graph is not None:
                with self._catalog.watch() as snapshot:
                    if (graph := self.of(snapshot.version())) is not None:
                        yield graph, snapshot
                        return
            if self._graph is not None and not self._can_be_caught_up():
                self._graph = None
            if self._graph is None:
                self._load()
            with self._catalog.watch() as snapshot:  # opened after loading, so never older than the graph
                graph = self._caught_up(snapshot)
                graph.ef_search = snapshot.ef_search()
                self._version = snapshot.version()
                yield graph, snapshot

    def save(self) -> None:
        """Brings `graph.hnsw` in line with the catalog; for the sole writer."""
        settle(self._path)
        with self.current() as (graph, _):
            if self._saved == self._state:
                return
            try:
                self._write(graph)
            except OSError as error:
                raise ArtifactError(self._path, f"cannot be written: {error.strerror}") from error
            self._saved = self._state

    def _write(self, graph: Graph) -> None:
        # Recorded before the file takes its place, and the old one forgotten after: at every moment, and after every
        # crash, the catalog knows the file that is there.
        with atomic_file(self._path) as temporary:
            digest = graph.save(temporary)
            with self._catalog.write() as change:
                change.put_graph(digest, GraphRow(self._state, graph.dead))
        with self._catalog.write() as change:
            change.forget_other_graphs(digest)
            change.forget_removals(until=self._state)

    def _can_be_caught_up(self) -> bool:
        with self._catalog.read() as snapshot:
            return snapshot.remembers(self._state)

    def _load(self) -> None:
        while True:  # until no writer has replaced the file between the look at its digest and the reading
            found = self._identity()
            self._graph = self._load_genuine()
            if found == self._identity():
                return

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _load_genuine(self) -> Graph | None:
        try:
            with open(self._path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactError(self._path, f"cannot be read: {error.strerror}") from error
        with self._catalog.read() as snapshot:
            row = snapshot.find_graph(digest)
        if row is None:
            _log.warning("%s is not the file that the catalog recorded; the graph is built anew", self._path)
            return None
        try:
            graph = Graph.load(self._path, self._catalog.dim, self._catalog.config, row.dead)
        except RuntimeError as error:
            _log.warning("%s is not for this hnswlib (%s); the graph is built anew", self._path, error)
            return None
        self._state = self._saved = row.state
        return graph

    def _caught_up(self, snapshot: Snapshot) -> Graph:
        state = snapshot.state()
        graph, self._graph = self._graph, None  # whoever interrupts the catching up leaves no half-changed graph
        if graph is not None and state != self._state:
            removed = snapshot.removed_since(self._state)
            small = graph.dead + len(removed) <= _MOST_DEAD * (len(graph) + graph.dead)
            if small and snapshot.remembers(self._state):
                graph.remove(removed)
            else:
                graph = None
        if graph is None:
            graph = Graph(self._catalog.dim, self._catalog.config, capacity=snapshot.count_descriptors())
            self._state = State()
        if state != self._state:
            after = self._state.last_descriptor
            total = snapshot.count_descriptors(after)
            for block in snapshot.blocks(block_size(1, self._catalog.dim), after):
                graph.add(block.descriptors, block.vectors, total)
        self._graph, self._state = graph, state
        return graph
