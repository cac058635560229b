"""UKBench (Nistér and Stewénius, CVPR 2006): 10,200 images, four of each object.

Every image is a query and stays in the database. Its N-S score is the number of images of its object, counting itself,
among the first four of its ranking. The benchmark reports the mean, which is 4 at best.
"""

from __future__ import annotations

import os

from tfvlad.evaluation.datasets._published_files import PublishedFiles
from tfvlad.evaluation.datasets.dataset import GROUP, Dataset, Query, Size

UKBENCH = "ukbench00000.jpg to ukbench10199.jpg of https://archive.org/details/ukbench"

_NAME = r"ukbench\d{5}"


def ukbench(folder: str | os.PathLike[str]) -> Dataset:
    """Loads UKBench from its published files.

    Args:
      folder: holds ``ukbench00000.jpg`` …, in sub-folders or not; every four in a row, from a multiple of four on, show
        one object. In the archive this is the folder ``full``; beside it are small copies with the same names.

    Raises:
      ConfigError: images are missing.
    """
    files = PublishedFiles(folder, UKBENCH, _NAME)
    objects = sorted({int(stem.removeprefix("ukbench")) // GROUP for stem in files.images})
    stems = [f"ukbench{GROUP * number + image:05}" for number in objects for image in range(GROUP)]
    files.require_images(stems)
    queries = [Query(files.path(stem)) for stem in stems]
    starts = [number - number % GROUP for number in range(len(stems))]
    truths = [{"ok": list(range(start, start + GROUP)), "junk": []} for start in starts]
    database, whole = files.database(stems), Size(10_200, 10_200)
    return Dataset(queries, {"all": truths}, database, "UKBench", files.folder, "N-S score", whole)
