"""The search of an index through its mirror: what the mirror finds, together with what it does not hold yet."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ServingError
from tfvlad.index.catalog import Catalog, GraphRow, Snapshot, State, Version
from tfvlad.index.graph import FILE_NAMES, Graph
from tfvlad.index.mirror import Mirror, Rows
from tfvlad.index.ranking import block_size, rank_exactly

_ROWS = 2048  # that are sent at a time

_log = logging.getLogger(__name__)


class Mirrored:
    """Lends a mirror as a graph that agrees with the catalog, to one thread at a time; see `Graphs`.

    Only `save` writes to the mirror. The catalog records the mirror's mark, with the state that it stands for, before
    the mirror has it, and forgets the one before afterwards; so after every crash the catalog knows the one that is
    there, or the mirror is filled anew.

    Args:
      catalog: the truth.
      connect: connects to the engine, which is done when it is first needed.
    """

    def __init__(self, catalog: Catalog, connect: Callable[[str, int, IndexConfig], Mirror]) -> None:
        self._catalog = catalog
        self._connect = connect
        self._lock = threading.Lock()  # held by whoever uses the mirror
        self._mirror: Mirror | None = None
        self._warned = False
        self._version: Version | None = None  # of the catalog, when its descriptors were counted
        self._count = 0

    def holds(self, descriptors: int) -> bool:
        """Whether it is known, without asking, that so many descriptors can be searched: it never is."""
        return False

    @contextlib.contextmanager
    def current(self) -> Iterator[tuple[Graph, Snapshot]]:
        """Lends the mirror as a graph, and the state of the catalog; other threads wait until the block ends."""
        with self._lock, self._catalog.watch() as snapshot:
            found = self._found(snapshot)
            if found is None and not self._warned:
                self._warned = True
                _log.warning(
                    "%s is not mirrored on this engine, or not in its present state, and is searched exactly; run "
                    "`tfvlad index --search` again",
                    self._catalog.folder,
                )
            if (version := snapshot.version()) != self._version:
                self._count, self._version = snapshot.count_descriptors(), version
            yield _Current(snapshot, self._catalog.dim, found, self._count), snapshot

    def save(self) -> None:
        """Brings the mirror in line with the catalog; the caller must be the sole writer.

        Raises:
          ServingError: the engine fails.
        """
        if self._name() is None:
            with self._catalog.write() as change:
                change.put_identity(secrets.token_hex(8))
        with self._lock:
            with self._catalog.read() as snapshot:
                state, count = snapshot.state(), snapshot.count_descriptors()
                found = self._found(snapshot)
                mirror = self._opened()
                if found is not None and found[1] == state and len(mirror) == count:
                    return
                self._bring_in_line(mirror, snapshot, found[1] if found else None)
                if len(mirror) != count:  # an interruption left some there that have been removed since
                    self._bring_in_line(mirror, snapshot, None)
            mark = self._recorded(state)
            mirror.set_mark(mark)
            with self._catalog.write() as change:
                change.forget_other_graphs(mark)
                change.forget_removals(until=state)
            for name in FILE_NAMES:  # which the catalog forgot now
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._catalog.folder, name))

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            mirror.close()

    def _recorded(self, state: State) -> str:
        """A new mark, which the catalog knows to stand for this state."""
        mark = secrets.token_hex(32)
        with self._catalog.write() as change:
            change.put_graph(mark, GraphRow(state, 0))
        return mark

    def _bring_in_line(self, mirror: Mirror, snapshot: Snapshot, since: State | None) -> None:
        """Removes and adds what the mirror lacks since a state; fills it anew where that is None."""
        if since is None:
            mirror.clear()
        else:  # a copy of this index, which knows the mark that was there, must not take what is half changed for its
            # own.
            mirror.set_mark(self._recorded(since))
        if since is not None and (removed := snapshot.removed_since(since)).size:
            mirror.remove(removed)
        for block in snapshot.blocks(_ROWS, since.last_descriptor if since else 0):
            names = snapshot.view_names(block.descriptors)
            views = [names[descriptor] for descriptor in block.descriptors.tolist()]
            mirror.add(Rows(block.descriptors, block.images, views, block.vectors))

    def _found(self, snapshot: Snapshot) -> tuple[Mirror, State] | None:
        """The mirror, and the state that it stands for; None where it stands for none that can be used."""
        if self._name() is None:
            return None
        try:
            mark = self._opened().mark()
        except ServingError:  # as when the engine has been started anew since
            self._disconnect()
            mark = self._opened().mark()
        mirror = self._opened()
        row = snapshot.find_graph(mark) if mark else None
        return (mirror, row.state) if row is not None and snapshot.remembers(row.state) else None

    def _opened(self) -> Mirror:
        if self._mirror is None:
            name = self._name()
            if name is None:
                raise ServingError(f"{self._catalog.folder} is not mirrored yet")
            self._mirror = self._connect(name, self._catalog.dim, self._catalog.config)
        return self._mirror

    def _name(self) -> str | None:
        """The collection's name: the encoder's fingerprint, and what tells the index from others with this encoder."""
        with self._catalog.read() as snapshot:
            identity = snapshot.identity()
        return None if identity is None else f"tfvlad_{self._catalog.fingerprint[:12]}_{identity}"


class _Current:
    """A mirror as a `tfvlad.index.graph.Graph` that nobody can change, and that has what the mirror lacks."""

    dead = 0

    def __init__(self, snapshot: Snapshot, dim: int, found: tuple[Mirror, State] | None, count: int) -> None:
        self.ef_search = snapshot.ef_search()
        self._snapshot, self._dim, self._found, self._count = snapshot, dim, found, count

    def __len__(self) -> int:
        return self._count if self._found else 0

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        if self._found is None:
            return None
        mirror, state = self._found
        after = state.last_descriptor
        newer = self._snapshot.count_descriptors(after) if self._snapshot.state().last_descriptor > after else 0
        if k > self._count - newer:
            return None
        found = mirror.search(queries, k, self.ef_search)
        if found is None or not newer:
            return found
        blocks = self._snapshot.blocks(block_size(*queries.shape), after)
        exact = rank_exactly(queries, ((block.descriptors, block.vectors) for block in blocks), k)
        scores, labels = np.hstack([found[0], exact.scores]), np.hstack([found[1], exact.images])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(labels, best, axis=1)

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], total: int = 0) -> None:
        raise NotImplementedError("only a synchronisation writes to a mirror")

    def remove(self, labels: NDArray[np.int64]) -> None:
        raise NotImplementedError("only a synchronisation writes to a mirror")

    def save(self, path: str) -> str:
        raise NotImplementedError("a mirror has no file")
