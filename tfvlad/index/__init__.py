"""The index: the images of some folders and their descriptors, kept in one folder, brought up to date and searched.

Folders of images and an encoder enter through `Index.sync`; queries (image files, bytes, pixels or descriptors) enter
through `Index.search`, and lists of `Hit` leave. On the disk, the catalog (`tfvlad.index.catalog`) is the truth; the
graph (`tfvlad.index.graph`) can be built anew from it at any time.

Three Protocols are the places where the index will grow: `tfvlad.index.graph.Graph`, an approximate search;
`tfvlad.index.reranking.Reranker`, a closer look at what was found; `tfvlad.index.views.View`, what an image has
descriptors of.

This package imports `tfvlad.encoding` and `tfvlad.images` (both when they are first needed, because of TensorFlow),
`tfvlad.storage`, `tfvlad.config` and `tfvlad.errors`.
"""

from tfvlad.index._folders import IndexedFolder
from tfvlad.index._graph_recall import GraphRecall
from tfvlad.index._hits import Hit
from tfvlad.index._sync import SyncReport
from tfvlad.index.index import Index

__all__ = ["GraphRecall", "Hit", "Index", "IndexedFolder", "SyncReport"]
