"""The index: the images of some folders, kept in one folder with what they are found by, and searched.

Folders of images and an encoder enter through `Index.sync`; queries (image files, bytes, pixels or descriptors) enter
through `Index.search`, and lists of `Hit` leave. On the disk, the catalog (`tfvlad.index.catalog`) is the truth: files,
the descriptors of each image's views, and its local features. The graph (`tfvlad.index.graph`) can be built anew from
it at any time.

`_duplicate_search` finds `duplicates`: `_similar_pairs` gives the candidates, `_copies` verifies them.

A search goes through `_queries` (a query's views and their descriptors), `_search` (the shortlist: `ranking`, `graph`,
`hubness`, and `reciprocal` where that is asked for), `verification` (a closer look at it) and `_hits`.

Two Protocols are the places where the index will grow: `tfvlad.index.graph.Graph`, an approximate search, and
`tfvlad.index.reranking.Reranker`, a closer look at what was found. Kinds of views are rows of
`tfvlad.images.views.KINDS`.

This package imports `tfvlad.matching`, `tfvlad.encoding` and `tfvlad.images` (what brings TensorFlow only when it is
first needed), `tfvlad.storage`, `tfvlad.config` and `tfvlad.errors`.
"""

from tfvlad.index._graph_recall import GraphRecall
from tfvlad.index._hits import Hit
from tfvlad.index._sync import SyncReport
from tfvlad.index._synced_folders import IndexedFile, IndexedFolder
from tfvlad.index.duplicates import Duplicate, Duplicates
from tfvlad.index.index import Index

__all__ = ["Duplicate", "Duplicates", "GraphRecall", "Hit", "Index", "IndexedFile", "IndexedFolder", "SyncReport"]
