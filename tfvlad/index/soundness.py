"""Is an index sound? Everything in it is read once and compared with what it must be."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tfvlad.errors import TfvladError
from tfvlad.matching.local_features import LocalFeatures

if TYPE_CHECKING:
    from tfvlad.index.index import Index

_BLOCK = 4096  # descriptors that are read at once
_IMAGES = 256  # images whose local features are read at once
_LENGTH_TOLERANCE = 1e-3  # by which a descriptor's length may differ from 1
_RECALL = 0.95  # of the graph; below it, `tfvlad index --target_recall` should be called
_K, _QUERIES = 10, 200

Found = tuple[bool, str]


@dataclasses.dataclass(frozen=True)
class Check:
    """One part of an index that was checked.

    Attributes:
      name: the part, such as ``descriptors``.
      sound: whether it is as it must be.
      found: what was found, in one line.
    """

    name: str
    sound: bool
    found: str


def check_index(index: Index) -> list[Check]:
    """Reads everything in an index, one part after the other; a damaged part does not keep the next from being checked.

    Memory is bounded, whatever the size of the index. Nothing is written but the graph's file, where it is missing or
    out of date.

    Example:
      >>> with tfvlad.Index.open("photos.index") as index:
      ...     all(check.sound for check in check_index(index))
      True
    """
    parts: dict[str, Callable[[Index], Found]] = {
        "database": _database,
        "descriptors": _descriptors,
        "local features": _local_features,
        "graph": _graph,
        "files": _files,
    }
    return [_checked(name, index, check) for name, check in parts.items()]


def _checked(name: str, index: Index, check: Callable[[Index], Found]) -> Check:
    try:
        return Check(name, *check(index))
    except TfvladError as error:
        return Check(name, False, str(error))


def _database(index: Index) -> Found:
    with index._catalog.read() as snapshot:
        problems = snapshot.problems()
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            return False, f"SQLite finds it damaged: {problems[0]}{more}; make a new index"
        return True, f"format {snapshot.format()}, {snapshot.count_files()} files"


def _descriptors(index: Index) -> Found:
    count = wrong = 0
    with index._catalog.read() as snapshot:
        for block in snapshot.blocks(_BLOCK):  # raises where a descriptor is no finite vector of the right length
            lengths = np.linalg.norm(block.vectors, axis=1)
            # An image without a single feature has a descriptor of zeros.
            wrong += int(np.count_nonzero((np.abs(lengths - 1) > _LENGTH_TOLERANCE) & (lengths != 0)))
            count += len(lengths)
        bare = snapshot.image_ids().size - snapshot.images_with_descriptors()
    if wrong:
        return False, f"{wrong} of {count} are not of unit length; make a new index"
    if bare:
        return False, f"{bare} images have none; make a new index"
    return True, f"{count}, each of {index._catalog.dim} dimensions"


def _local_features(index: Index) -> Found:
    with index._catalog.read() as snapshot:
        most = snapshot.kept().local_features
        if not most:
            return True, "none are kept; index --local_features adds them"
        images = snapshot.images_with_local_features()
        missing = snapshot.image_ids().size - images.size
        for start in range(0, images.size, _IMAGES):
            for _, data in snapshot.local_features_of(images[start : start + _IMAGES]):
                LocalFeatures.from_bytes(data, snapshot.path)  # raises where they are damaged
    if missing:
        return False, f"{missing} images have none; run index --index again"
    return True, f"of {images.size} images, at most {most} of each"


def _graph(index: Index) -> Found:
    measured = index.verify(k=_K, sample=_QUERIES)
    found = f"finds {measured.recall:.1%} of the exact result (k={measured.k}, {measured.queries} queries)"
    if measured.recall < _RECALL:
        return False, f"{found}; index --target_recall 0.99 lets it search longer"
    return True, found


def _files(index: Index) -> Found:
    gone = failed = count = 0
    for _, _, path in index.images():
        count += 1
        gone += not os.path.exists(path)
    failed = sum(len(folder.failed) for folder in index.folders())
    unusable = f"; {failed} others could not be used" if failed else ""
    if gone:
        return False, f"{gone} of {count} are no longer where they were{unusable}; run index --index again"
    return True, f"{count} are where they were{unusable}"
