"""The graph of an index: loaded from its file if that is genuine, brought in line with the catalog, or built anew."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import Protocol

from tfvlad.errors import ArtifactError
from tfvlad.index.catalog import Catalog, ChangedWhileReadError, Columns, GraphRow, Snapshot, State, Version
from tfvlad.index.graph import FILE_NAMES, Graph, GraphBackend
from tfvlad.index.ranking import block_size
from tfvlad.storage.atomic import atomic_file, settle

# A graph with a larger share of removed labels is built anew, because they cost memory and time in every search.
_MOST_DEAD = 0.3

_log = logging.getLogger(__name__)


class Graphs(Protocol):
    """Where the graph of an index comes from: a file that is loaded (`GraphCache`), or an engine (`Mirrored`)."""

    def holds(self, descriptors: int) -> bool:
        """Whether a graph of at least so many descriptors is at hand, perhaps not up to date."""
        ...

    def current(self) -> contextlib.AbstractContextManager[tuple[Graph, Snapshot]]:
        """Lends the graph, and the state of the catalog that it stands for; other threads wait until the block ends."""
        ...

    def save(self) -> None:
        """Brings what is stored in line with the catalog; the caller must be the sole writer."""
        ...

    def close(self) -> None:
        """Gives up memory and connections."""
        ...


class GraphCache:
    """Lends a graph that agrees with the catalog, to one thread at a time."""

    def __init__(self, catalog: Catalog, backend: GraphBackend) -> None:
        self._catalog = catalog
        self._backend = backend
        self._path = os.path.join(catalog.folder, backend.file_name)
        self._lock = threading.Lock()  # held by whoever uses the graph
        self._graph: Graph | None = None
        self._state = State()  # of the catalog, that the graph stands for
        self._columns = Columns()  # of the descriptors that the graph stands for
        self._version: Version | None = None  # of the catalog, when the graph was last known to agree with it
        self._saved: State | None = None  # of the catalog, that the graph's file stands for
        self._closed = False

    def holds(self, descriptors: int) -> bool:
        """Whether a graph of at least so many descriptors is in memory, perhaps not up to date."""
        graph = self._graph
        return graph is not None and len(graph) >= descriptors

    @contextlib.contextmanager
    def current(self) -> Iterator[tuple[Graph, Snapshot]]:
        """Lends the graph, and the state of the catalog that it stands for; other threads wait until the block ends."""
        with self._lock:
            try:
                with self._brought_up_to_date() as (graph, snapshot):
                    yield graph, snapshot
            except ChangedWhileReadError:  # what the graph took from the catalog may be of two states
                self._forget()
                raise
            finally:
                if self._closed:
                    self._forget()

    def close(self) -> None:
        """Gives up the graph's memory now, or as soon as whoever uses the graph is done."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            self._forget()
            self._lock.release()

    def save(self) -> None:
        """Brings the graph's file in line with the catalog; the caller must be the sole writer.

        Raises:
          ArtifactError: the file cannot be written.
        """
        settle(self._path)
        with self.current() as (graph, _):
            if self._saved == self._state:
                return
            try:
                self._write(graph)
            except OSError as error:
                raise ArtifactError(self._path, f"cannot be written: {error.strerror}") from error
            self._saved = self._state

    @contextlib.contextmanager
    def _brought_up_to_date(self) -> Iterator[tuple[Graph, Snapshot]]:
        if self._graph is not None:
            with self._catalog.watch() as snapshot:
                if snapshot.version() == self._version:
                    snapshot.columns = self._columns
                    yield self._graph, snapshot
                    return
        if self._graph is not None and not self._can_be_caught_up():
            self._graph = None
        if self._graph is None:
            self._load()
        with self._catalog.watch() as snapshot:  # opened after loading, so it is never older than the graph
            graph = self._caught_up(snapshot)
            graph.ef_search = snapshot.ef_search()
            columns, self._columns = self._columns, Columns()  # an interruption leaves none half filled
            snapshot.fill(columns)
            self._columns = columns
            self._version = snapshot.version()
            yield graph, snapshot

    def _forget(self) -> None:
        self._graph, self._columns = None, Columns()

    def _write(self, graph: Graph) -> None:
        # The new file is recorded before it takes its place, and the old one is forgotten afterwards. So the catalog
        # knows the file that is there at every moment, and after every crash.
        with atomic_file(self._path) as temporary:
            digest = graph.save(temporary)
            with self._catalog.write() as change:
                change.put_graph(digest, GraphRow(self._state, graph.dead))
        with self._catalog.write() as change:
            change.forget_other_graphs(digest)
            change.forget_removals(until=self._state)
        for name in set(FILE_NAMES) - {self._backend.file_name}:  # of another library, which the catalog forgot now
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._catalog.folder, name))

    def _can_be_caught_up(self) -> bool:
        with self._catalog.read() as snapshot:
            return snapshot.remembers(self._state)

    def _load(self) -> None:
        """Loads the graph from its file; leaves None where there is no genuine file."""
        while True:  # until no writer replaces the file between the check of its digest and the reading
            found = self._identity()
            self._graph, problem = self._load_genuine()
            if found == self._identity():
                if problem:
                    _log.warning("%s; the graph is built anew", problem)
                return

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _load_genuine(self) -> tuple[Graph | None, str | None]:
        """The graph of the file, or why it is not to be used; neither where there is no file."""
        try:
            with open(self._path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None, None
        except OSError as error:
            raise ArtifactError(self._path, f"cannot be read: {error.strerror}") from error
        with self._catalog.read() as snapshot:
            row = snapshot.find_graph(digest)
        if row is None:
            return None, f"{self._path} is not the file that the catalog recorded"
        try:
            graph = self._backend.load(self._path, self._catalog.dim, self._catalog.config, row.dead)
        except ArtifactError as error:
            return None, str(error)
        self._state = self._saved = row.state
        return graph, None

    def _caught_up(self, snapshot: Snapshot) -> Graph:
        """Removes and adds what the graph lacks, or builds it anew if too much of it would be dead."""
        state = snapshot.state()
        graph, self._graph = self._graph, None  # so that an interruption leaves no half-changed graph behind
        if graph is not None and state != self._state:
            removed = snapshot.removed_since(self._state)
            small = graph.dead + len(removed) <= _MOST_DEAD * (len(graph) + graph.dead)
            if small and snapshot.remembers(self._state):
                graph.remove(removed)
            else:
                graph = None
        if graph is None:
            graph = self._backend.make(self._catalog.dim, self._catalog.config, snapshot.count_descriptors())
            self._state = State()
        if state != self._state:
            after = self._state.last_descriptor
            total = snapshot.count_descriptors(after)
            for block in snapshot.blocks(block_size(1, self._catalog.dim), after):
                graph.add(block.descriptors, block.vectors, total)
        self._graph, self._state = graph, state
        return graph
