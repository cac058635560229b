"""Revisited Oxford and Paris (Radenović et al., CVPR 2018): 70 queries each, three protocols.

Under the protocol easy, easy images are right answers and hard ones are ignored; under medium, both are right; under
hard, hard images are right and easy ones are ignored. Each query is the part of its image inside a box. The 70 query
images are not in the database, which has 4,993 images for Oxford and 6,322 for Paris.

The metrics are those of the authors' ``evaluate.py``: average precision by the trapezoid rule, and precision at k or,
where that comes first, at the last right answer. Queries without a right answer do not count. The images are those of
Oxford5k and Paris6k; see `tfvlad.evaluation.datasets.oxford` for those that have been withdrawn.
"""

from __future__ import annotations

import json
import math
import os
from numbers import Real
from pathlib import Path
from typing import Any

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets._published_files import PublishedFiles
from tfvlad.evaluation.datasets.dataset import Dataset, Query, Truth
from tfvlad.evaluation.datasets.oxford import OXFORD_IMAGES, OXFORD_NAMES, PARIS_IMAGES, PARIS_NAMES
from tfvlad.images import Box
from tfvlad.storage.plain_pickle import read_plain_pickle

_TRUTH = "{0} of http://cmp.felk.cvut.cz/revisitop/data/datasets/{1}/, and what {2} unpack to"
ROXFORD = _TRUTH.format("gnd_roxford5k.pkl", "roxford5k", OXFORD_IMAGES)
RPARIS = _TRUTH.format("gnd_rparis6k.pkl", "rparis6k", PARIS_IMAGES)

# Protocol -> (kinds that are right, kinds that are ignored); the first is the one that papers give most weight to.
_PROTOCOLS = {
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
    "easy": (("easy",), ("junk", "hard")),
}


def roxford5k(folder: str | os.PathLike[str]) -> Dataset:
    """Loads revisited Oxford from its published files.

    Args:
      folder: holds ``gnd_roxford5k.pkl``, or the same content as ``gnd_roxford5k.json``, and the images of Oxford5k, in
        sub-folders or not. The pickle is read as data, without unpickling it.

    Raises:
      ConfigError: something is missing or malformed.
    """
    return _revisited("Revisited Oxford", PublishedFiles(folder, ROXFORD, OXFORD_NAMES), "gnd_roxford5k")


def rparis6k(folder: str | os.PathLike[str]) -> Dataset:
    """Loads revisited Paris from its published files; see `roxford5k`, with ``gnd_rparis6k.pkl``."""
    return _revisited("Revisited Paris", PublishedFiles(folder, RPARIS, PARIS_NAMES), "gnd_rparis6k")


def _revisited(name: str, files: PublishedFiles, truth_name: str) -> Dataset:
    path = (files.find(f"{truth_name}.json") or files.require_files(f"{truth_name}.pkl"))[0]
    content = _read(path)
    try:
        stems, query_stems = (_stems(content[key]) for key in ("imlist", "qimlist"))
        entries = [_entry(entry, len(stems)) for entry in content["gnd"]]
        boxes = [_box(entry["bbx"]) for entry in content["gnd"]]
        if not len(entries) == len(query_stems) > 0 or len(set(stems)) < len(stems):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"{path} must hold imlist, qimlist and, for each query, gnd with bbx, easy, hard and junk, as published"
        ) from None
    files.require_images([*stems, *query_stems])
    protocols = {
        protocol: [
            Truth(ok=[n for key in right for n in entry[key]], junk=[n for key in junk for n in entry[key]])
            for entry in entries
        ]
        for protocol, (right, junk) in _PROTOCOLS.items()
    }
    queries = [Query(files.path(stem), box) for stem, box in zip(query_stems, boxes, strict=True)]
    return Dataset(queries, protocols, files.database(stems), name, files.folder)


def _read(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(data) if path.suffix == ".json" else read_plain_pickle(data)
    except (OSError, ValueError, RecursionError) as error:  # PlainPickleError is a ValueError
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _stems(names: Any) -> list[str]:
    if not all(isinstance(name, str) for name in names):
        raise ValueError
    return list(names)


def _entry(entry: dict[str, Any], images: int) -> dict[str, list[int]]:
    """Returns each list of a query as positions in the database, from 0."""
    lists = {key: [int(number) for number in entry[key]] for key in ("easy", "hard", "junk")}
    places = [number for listed in lists.values() for number in listed]
    if any(lists[key] != list(entry[key]) for key in lists):  # fractions, or digits in quotes
        raise ValueError
    if len(set(places)) < len(places) or not all(0 <= number < images for number in places):
        raise ValueError
    return lists


def _box(numbers: Any) -> Box:
    if not all(isinstance(number, Real) and math.isfinite(number) for number in numbers):
        raise ValueError
    x1, y1, x2, y2 = (float(number) for number in numbers)
    if not (x1 < x2 and y1 < y2):
        raise ValueError
    return x1, y1, x2, y2
