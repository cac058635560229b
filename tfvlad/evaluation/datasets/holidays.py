"""INRIA Holidays (Jégou, Douze and Schmid, ECCV 2008): 1,491 photographs in 500 groups.

The first photograph of each group is the query. It is taken out of its ranking, and the rest of its group are the right
answers. Average precision follows the trapezoid rule. All this is as in the authors' ``holidays_map.py``.

Many photographs lie on their side and have no EXIF orientation; papers on deep features often turn them upright by
hand. The files of such a rotation-corrected copy have the same names: put them in a folder of their own, and give that
folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets._published_files import PublishedFiles, read_lines
from tfvlad.evaluation.datasets.dataset import Dataset, Query, Size

HOLIDAYS = "what the archives jpg1, jpg2 and eval_holidays of https://lear.inrialpes.fr/~jegou/data.php unpack to"

_NAME = r"\d{4}\d\d"


def holidays(folder: str | os.PathLike[str]) -> Dataset:
    """Loads INRIA Holidays from its published files.

    Args:
      folder: holds ``100000.jpg`` …, in sub-folders or not: four digits of the group, two of the photograph, 00 for the
        query. Where it holds ``holidays_images.dat`` too, exactly the photographs listed there are the data set.
        Without that list, a part of the set will do: a group that lacks its query, or every answer to it, is in the
        database like the others and has no query.

    Raises:
      ConfigError: something is missing or malformed.
    """
    files = PublishedFiles(folder, HOLIDAYS, _NAME)
    listed = files.find("holidays_images.dat")
    stems = _listed(listed[0]) if listed else sorted(files.images)
    groups: dict[str, list[int]] = {}
    for number, stem in enumerate(stems):
        groups.setdefault(stem[:4], []).append(number)
    files.require_images(stems)
    queries, truths = [], []
    for group, numbers in groups.items():
        query = next((number for number in numbers if stems[number] == f"{group}00"), None)
        if query is None or len(numbers) == 1:
            if listed:
                raise ConfigError(f"{listed[0]} must list a query, {group}00.jpg, and an answer to it")
            continue
        queries.append(Query(files.path(stems[query])))
        truths.append({"ok": [number for number in numbers if number != query], "junk": [query]})
    if not queries:
        raise ConfigError(f"{files.folder} holds no query with an answer; place there {HOLIDAYS}")
    database = files.database(stems)
    return Dataset(queries, {"all": truths}, database, "Holidays", files.folder, published=Size(500, 1_491))


def _listed(path: Path) -> list[str]:
    lines = read_lines(path)
    if wrong := [line for line in lines or [""] if not re.fullmatch(rf"{_NAME}\.jpg", line)]:
        raise ConfigError(f"{path} must hold one name like 100000.jpg a line, got {wrong[0]!r:.60}")
    return list(dict.fromkeys(line.removesuffix(".jpg") for line in lines))
