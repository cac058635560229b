"""The libraries that make graphs, by name, and which one is used here."""

from __future__ import annotations

import importlib.util

from tfvlad.index.graph import GraphBackend


def installed_backend() -> GraphBackend:
    """Returns hnswlib's where hnswlib is installed, and voyager's elsewhere."""
    return backend_of("hnswlib" if importlib.util.find_spec("hnswlib") else "voyager")


def backend_of(library: str) -> GraphBackend:
    """Returns the backend of ``hnswlib`` or ``voyager``, and imports that library only."""
    if library == "hnswlib":
        from tfvlad.index.hnsw_graph import HnswGraph

        return HnswGraph
    from tfvlad.index.voyager_graph import VoyagerGraph

    return VoyagerGraph
