"""Indexes by name: opened, opened anew where their folder is replaced, and lent with an encoder that is loaded once.

What another process commits to an index, the index sees by itself. A folder that is replaced by another one is
noticed here: before a request is answered, and again before its answer is given away, so that no answer is made of two
indexes. Folder and catalog are known by their inodes, which nobody else gets as long as they are open here.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from tfvlad.encoding.interface import REMOTE, AnyEncoder
from tfvlad.errors import ConfigError, MismatchError, TfvladError
from tfvlad.index import Index
from tfvlad.service.encoder_queue import EncoderQueue
from tfvlad.service.refusals import LATER, RefusalError

T = TypeVar("T")
_Identity = tuple[int, int, int, int]

_ATTEMPTS = 3  # to open, or to answer, while the folder is being replaced
_log = logging.getLogger(__name__)


class Encoders:
    """The encoders that are loaded, each with a queue in front. Indexes that were made with the same share one."""

    def __init__(self, shared: Callable[[], AnyEncoder] | None, queue: Callable[[AnyEncoder], EncoderQueue]) -> None:
        """See the class.

        Args:
          shared: gives the encoder of all indexes; None takes the one in each index's folder.
          queue: puts a queue in front of an encoder.
        """
        self._shared = shared
        self._queue = queue
        self._lock = threading.Lock()
        self._loaded: list[EncoderQueue] = []

    @property
    def come_with_indexes(self) -> bool:
        """Whether each index's folder must hold its encoder."""
        return self._shared is None

    def known(self) -> list[EncoderQueue]:
        """What is loaded."""
        return list(self._loaded)

    def load(self, index: Index) -> EncoderQueue:
        """Loads the encoder of an index, if that is not done.

        Raises:
          TfvladError: it cannot be loaded.
        """
        with self._lock:
            for queue in self._loaded:
                if queue.fingerprint == index.fingerprint:
                    return queue
            self._loaded.append(self._queue(index.encoder if self._shared is None else self._shared()))
            return self._loaded[-1]

    def keep(self, fingerprints: set[str]) -> None:
        """Gives up those that have none of these fingerprints."""
        with self._lock:
            unused = [queue for queue in self._loaded if queue.fingerprint not in fingerprints]
            self._loaded = [queue for queue in self._loaded if queue.fingerprint in fingerprints]
        for queue in unused:
            queue.close()

    def close(self) -> None:
        """Gives up all of them."""
        self.keep(set())


class OpenIndex:
    """One opened index folder.

    Attributes:
      index: the index.
      generation: tells it from the one that was in its place before; ids are valid in one generation.
      encoder: its encoder; None before that is loaded.
    """

    def __init__(self, path: str, encoder: EncoderQueue | None, max_pixels: int | None, search: str | None) -> None:
        """Opens the folder.

        Raises:
          TfvladError, OSError: there is no index, or it was made with another encoder.
        """
        self.encoder = encoder
        self._path = path
        self._users = 0
        self._dropped = False
        self._closed = False
        self._lock = threading.Lock()
        for _ in range(_ATTEMPTS):
            with contextlib.ExitStack() as opened:
                if os.name == "posix":
                    opened.callback(os.close, os.open(path, os.O_RDONLY))  # keeps its inode
                self._identity = _identity(path)
                self.index = opened.enter_context(Index.open(path, encoder, max_pixels, search))
                if self.is_current():
                    self._opened = opened.pop_all()
                    break
        else:
            raise ConfigError(f"{path} is replaced all the time")
        self.generation = hashlib.sha256(repr(self._identity).encode()).hexdigest()[:12]

    def is_current(self) -> bool:
        """Whether the same index is still in its place."""
        try:
            return _identity(self._path) == self._identity
        except OSError:
            return False

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Keeps it open for the length of a block."""
        with self._lock:
            if self._dropped:
                raise _DroppedError
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
            self._close_if_unused()

    def drop(self) -> None:
        """Closes it when the last user is done."""
        with self._lock:
            self._dropped = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        with self._lock:
            if self._closed or self._users or not self._dropped:
                return
            self._closed = True
        self._opened.close()


class NamedIndex:
    """One of the indexes that are served; threads share it.

    Attributes:
      name: its name.
    """

    def __init__(
        self, name: str, path: str, encoders: Encoders, max_pixels: int | None = None, search: str | None = None
    ) -> None:
        """Opens it, without its encoder.

        Raises:
          ArtifactError: there is no index.
          ConfigError: its encoder is served elsewhere, and nobody says where.
        """
        self.name = name
        self._path = os.path.abspath(path)
        self._encoders = encoders
        self._max_pixels = max_pixels
        self._search = search
        self._lock = threading.Lock()
        Index.open(path, search=search).close()  # says what is wrong with the path as it was given
        if encoders.come_with_indexes and os.path.lexists(os.path.join(path, "encoder", REMOTE)):
            raise ConfigError(f"{path} was made with an encoder that is served elsewhere; give its URL as --encoder")
        self._open: OpenIndex | None = OpenIndex(self._path, None, max_pixels, search)

    @property
    def is_ready(self) -> bool:
        """Whether pictures can be searched for in what is in its place now."""
        opened = self._open
        return opened is not None and opened.encoder is not None and opened.is_current()

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the encoder that is used; None before it is loaded."""
        opened = self._open
        return None if opened is None or opened.encoder is None else opened.encoder.fingerprint

    def load_encoder(self, warm_up: Callable[[OpenIndex], object]) -> None:
        """Opens what is in its place, and loads its encoder, as far as that is not done; it may take seconds.

        Args:
          warm_up: what is done with the index before clients may search it with pictures.

        Raises:
          TfvladError, OSError: it cannot be loaded.
        """
        with self._lock:
            opened = self._current()
        if opened.encoder is None:
            with opened.used():
                queue = self._encoders.load(opened.index)
            warm = OpenIndex(self._path, queue, self._max_pixels, self._search)
            try:
                warm_up(warm)
                with self._lock:
                    if self._open is opened and warm.is_current():
                        self._replace(warm)
            finally:
                if self._open is not warm:
                    warm.drop()

    def use(self, work: Callable[[OpenIndex], T], generation: str | None = None) -> T:
        """Does something with the index that is in its place.

        Args:
          work: it is done again where the index was replaced meanwhile.
          generation: of the index that must be there; None takes any.

        Raises:
          RefusalError: there is none, or another one.
        """
        for _ in range(_ATTEMPTS):
            try:
                with self._lock:
                    opened = self._current()
            except (TfvladError, OSError) as error:
                _log.warning("index %s: %s", self.name, error)
                raise RefusalError(503, f"the index {self.name} is not there at the moment", LATER) from None
            if generation is not None and generation != opened.generation:
                raise RefusalError(410, "the index was replaced by another one; search again")
            try:
                with opened.used():
                    result = work(opened)
                    if opened.is_current():
                        return result
            except _DroppedError:
                continue
            except Exception:  # anything may be raised where the folder is not there any more
                if opened.is_current():
                    raise
        raise RefusalError(503, f"the index {self.name} is being replaced; try again", LATER)

    def close(self) -> None:
        """Closes the index when its last user is done."""
        with self._lock:
            self._replace(None)

    def _current(self) -> OpenIndex:
        if self._open is None or not self._open.is_current():
            self._replace(self._opened())
        assert self._open is not None
        return self._open

    def _opened(self) -> OpenIndex:
        """Opens what is in its place, with its encoder where that is loaded."""
        for queue in self._encoders.known():
            with contextlib.suppress(MismatchError):
                return OpenIndex(self._path, queue, self._max_pixels, self._search)
        return OpenIndex(self._path, None, self._max_pixels, self._search)

    def _replace(self, by: OpenIndex | None) -> None:
        before, self._open = self._open, by
        if before is not None:
            before.drop()


class _DroppedError(Exception):
    """The index was dropped before it could be used."""


def _identity(path: str) -> _Identity:
    folder, catalog = os.stat(path), os.stat(os.path.join(path, "catalog.sqlite"))
    return folder.st_dev, folder.st_ino, catalog.st_dev, catalog.st_ino
