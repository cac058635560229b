"""Catalogs that are filled with ready descriptors, without files and without an encoder."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from tfvlad.config import IndexConfig
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, EncodedView, Stamp, to_blob
from tfvlad.index.graph import Graph
from tfvlad.index.graph_backends import installed_backend

NOWHERE = Root(-1, "/nowhere", "../nowhere")


def put_images(catalog: Catalog, images: np.ndarray, vectors: np.ndarray) -> None:
    """Gives image i, the file ``i.jpg``, a view for each row of `vectors` where `images` is i.

    Files, images and descriptors get their ids in the order of the images.
    """
    with catalog.write() as change:
        root = change.put_root(NOWHERE)
        for image in np.unique(images):
            views = [EncodedView(f"view{row}", to_blob(vectors[row])) for row in np.flatnonzero(images == image)]
            change.put_file(root, f"{image}.jpg", Stamp(1, 1), str(image).encode(), views)


def put_vectors(folder: str, vectors: np.ndarray) -> None:
    """Adds a file ``i.jpg`` of one view for each row to the catalog of an index folder, as another process would."""
    catalog = Catalog(folder)
    put_images(catalog, np.arange(len(vectors)), vectors)
    catalog.close()


def graph_of(catalog: Catalog) -> Graph:
    """A graph of all descriptors."""
    graph = installed_backend().make(catalog.dim, IndexConfig(), 1)
    with catalog.read() as snapshot:
        for block in snapshot.blocks(1000):
            graph.add(block.descriptors, block.vectors)
    return graph


def without_hnswlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes hnswlib look as if it were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hnswlib" else find(name))
    monkeypatch.setitem(sys.modules, "hnswlib", None)
