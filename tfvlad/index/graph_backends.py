"""Which library makes the graphs here."""

from __future__ import annotations

import importlib.util

from tfvlad.index.graph import GraphBackend


def installed_backend() -> GraphBackend:
    """Returns hnswlib's where hnswlib is installed, and voyager's elsewhere."""
    if importlib.util.find_spec("hnswlib"):
        from tfvlad.index.hnsw_graph import HnswGraph

        return HnswGraph
    from tfvlad.index.voyager_graph import VoyagerGraph

    return VoyagerGraph
