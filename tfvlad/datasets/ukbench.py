"""UKBench (Nistér and Stewénius, CVPR 2006): 10,200 images, four of each object.

Every image is a query and stays in the database. Its N-S score is how many of its object's four images, itself among
them, come first to fourth; the benchmark's figure is the mean, 4 at best.
"""

from __future__ import annotations

import os
import re

from tfvlad.datasets.dataset import Dataset, Query
from tfvlad.datasets.placed import Placed
from tfvlad.errors import ConfigError

UKBENCH = "ukbench00000.jpg to ukbench10199.jpg of https://archive.org/details/ukbench"

_NAME = re.compile(r"ukbench(\d{5})")
_GROUP = 4


def ukbench(folder: str | os.PathLike[str]) -> Dataset:
    """UKBench, in the files as published.

    Args:
      folder: holds ``ukbench00000.jpg`` …, in sub-folders or not: each four in a row, from a multiple of four on, show
        one object.

    Raises:
      ConfigError: images are missing.
    """
    placed = Placed(folder, UKBENCH)
    objects = sorted({int(found[1]) // _GROUP for stem in placed.images if (found := _NAME.fullmatch(stem))})
    if not objects:
        raise ConfigError(f"{placed.folder} holds no image named like ukbench00000.jpg; place there {UKBENCH}")
    stems = [f"ukbench{_GROUP * number + image:05}" for number in objects for image in range(_GROUP)]
    placed.require(stems)
    queries = [Query(placed.path(stem)) for stem in stems]
    starts = [number - number % _GROUP for number in range(len(stems))]
    truths = [{"ok": list(range(start, start + _GROUP)), "junk": []} for start in starts]
    return Dataset(queries, {"all": truths}, placed.database(stems), "UKBench", placed.folder, "N-S score")
