"""The catalog of an index: one SQLite file, which is the truth about its folders, files, images and descriptors.

A file is a path that was indexed; an image is what its bytes show. Files with equal bytes share one image and what is
kept of it: one descriptor for each of its views, and perhaps its local features. Everything else in an index folder,
the graph above all, can be made again from the catalog.

`Catalog` opens transactions. Inside one, a `Snapshot` reads one consistent state and a `Change` writes as well; rows
and NumPy arrays enter and leave. Anybody may have made the file, so all that is read from it is checked.

This package imports `tfvlad.config`, `tfvlad.errors` and `tfvlad.storage`, the names of views from `tfvlad.images`, the
limits of local features from `tfvlad.matching`, and the roots of `tfvlad.index`.
"""

from tfvlad.index.catalog._catalog import Catalog
from tfvlad.index.catalog._columns import Columns
from tfvlad.index.catalog._connections import ChangedWhileReadError
from tfvlad.index.catalog._reading import Snapshot, Version
from tfvlad.index.catalog._rows import (
    Block,
    EncodedView,
    FailureRow,
    FileRow,
    GraphRow,
    Ids,
    Kept,
    Stamp,
    State,
    to_blob,
)
from tfvlad.index.catalog._writing import Change

__all__ = [
    "Block",
    "Catalog",
    "Change",
    "ChangedWhileReadError",
    "Columns",
    "EncodedView",
    "FailureRow",
    "FileRow",
    "GraphRow",
    "Ids",
    "Kept",
    "Snapshot",
    "Stamp",
    "State",
    "Version",
    "to_blob",
]
