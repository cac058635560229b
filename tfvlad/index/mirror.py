"""Mirrors: copies of an index's descriptors on an engine of another program, which searches among them.

`Mirror` is what an index needs of one: Milvus (`MilvusMirror`) or PostgreSQL with pgvector (`PgvectorMirror`). The
catalog stays the truth. A mirror has a mark, which tells the state of the catalog that it stands for, and only the
process that synchronises an index writes to its mirror.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import urllib.parse
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tfvlad.config import IndexConfig
from tfvlad.errors import ConfigError

SECONDS = 10.0  # in which an engine must answer that it is there
_FORMS = "milvus://HOST:19530[/DATABASE], milvus:FILE.db or postgresql://HOST/DATABASE"


class Rows(NamedTuple):
    """Some descriptors as a mirror keeps them; the image and the view are there for others who search it.

    Attributes:
      labels: (n,) int64, the ids of the descriptors.
      images: (n,) int64.
      views: n names.
      vectors: (n, dim) float32, unit length.
    """

    labels: NDArray[np.int64]
    images: NDArray[np.int64]
    views: Sequence[str]
    vectors: NDArray[np.float32]


class Mirror(Protocol):
    """A collection on an engine. Every method raises `ServingError` where the engine cannot be reached or fails."""

    def mark(self) -> str | None:
        """The mark that was set last; None if there is no collection, or one that was never finished."""
        ...

    def set_mark(self, mark: str) -> None:
        """Sets the mark, after everything before it has been stored."""
        ...

    def clear(self) -> None:
        """Makes an empty collection without a mark; one that is there is dropped."""
        ...

    def __len__(self) -> int:
        """The number of labels."""
        ...

    def add(self, rows: Rows) -> None:
        """Adds descriptors, or replaces those whose labels are there already."""
        ...

    def remove(self, labels: NDArray[np.int64]) -> None:
        """Removes labels, (n,) int64, of which some may not be there."""
        ...

    def search(
        self, queries: NDArray[np.float32], k: int, ef_search: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        """Finds the k nearest labels of each query, see `tfvlad.index.graph.Graph.search`; None if it finds fewer."""
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


# The kind of URL that names an engine, the module and the class of its mirror, and what has to be installed for it.
_ENGINES = {
    "milvus": ("tfvlad.index.milvus_mirror", "MilvusMirror", "pymilvus", "milvus"),
    "postgresql": ("tfvlad.index.pgvector_mirror", "PgvectorMirror", "psycopg", "pgvector"),
}


def mirror_maker(url: str) -> Callable[[str, int, IndexConfig], Mirror]:
    """Returns what connects to the engine of a URL: a function of a collection's name, the dimensions and settings.

    Args:
      url: ``milvus://[USER:PASSWORD@]HOST:PORT[/DATABASE]``, ``milvus:FILE`` for Milvus Lite, or
        ``postgresql://[USER:PASSWORD@]HOST[:PORT]/DATABASE``.

    Raises:
      ConfigError: the URL is of another form, or the engine's client is not installed.
    """
    scheme = url.partition(":")[0]
    if scheme not in _ENGINES or not url.isprintable() or len(url) <= len(scheme) + 1:
        raise ConfigError(f"{without_password(url)} is not the URL of a search engine: {_FORMS}")
    module, name, package, extra = _ENGINES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"searching on {scheme} needs {package}: pip install 'tfvlad[{extra}]'")
    connect = getattr(importlib.import_module(module), name)

    def make(collection: str, dim: int, config: IndexConfig) -> Mirror:
        made: Mirror = connect(url, collection, dim, config)
        return made

    return make


def without_password(url: str) -> str:
    """A URL as it can be shown to anybody."""
    url = re.sub("(password|token)=[^&]*", r"\1=***", url, flags=re.IGNORECASE)
    head, at, tail = url.rpartition("@")
    scheme, separator, user = head.partition("://")
    return f"{scheme}{separator}{user.partition(':')[0]}:***@{tail}" if at and ":" in user else url


def host_of(url: str) -> str:
    """The part of a URL that names a server; empty for a file. Raises ConfigError where it is no URL."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{without_password(url)} is not the URL of a search engine: {_FORMS}") from None
    return parts.hostname or ""
