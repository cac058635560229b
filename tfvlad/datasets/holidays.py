"""INRIA Holidays (Jégou, Douze and Schmid, ECCV 2008): 1,491 photographs in 500 groups.

The first photograph of each group is the query; it is taken out of the ranking, and the rest of its group are the
right answers, as in the authors' ``holidays_map.py``. Many photographs lie on their side and have no EXIF orientation;
papers on deep features often turn them upright by hand. Such a rotation-corrected copy has the same names: place it in
a folder of its own and give that one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tfvlad.datasets.dataset import Dataset, Query
from tfvlad.datasets.placed import Placed, read_lines, some
from tfvlad.errors import ConfigError

HOLIDAYS = "what the archives jpg1, jpg2 and eval_holidays of https://lear.inrialpes.fr/~jegou/data.php unpack to"

_NAME = re.compile(r"\d{4}\d\d")


def holidays(folder: str | os.PathLike[str]) -> Dataset:
    """Holidays, in the files as published.

    Args:
      folder: holds ``100000.jpg`` …, in sub-folders or not: four digits of the group, two of the photograph, 00 for the
        query. Where it holds ``holidays_images.dat`` too, exactly the photographs listed there are the data set.

    Raises:
      ConfigError: something is missing or malformed.
    """
    placed = Placed(folder, HOLIDAYS)
    listed = placed.find("holidays_images.dat")
    stems = [_stem(line, listed[0]) for line in read_lines(listed[0])] if listed else sorted(placed.images)
    stems = [stem for stem in dict.fromkeys(stems) if listed or _NAME.fullmatch(stem)]
    if not stems:
        raise ConfigError(f"{placed.folder} holds no image named like 100000.jpg; place there {HOLIDAYS}")
    groups: dict[str, list[int]] = {}
    for number, stem in enumerate(stems):
        groups.setdefault(stem[:4], []).append(number)
    placed.require([*stems, *(f"{group}00" for group in groups)])
    if lonely := [stems[numbers[0]] for numbers in groups.values() if len(numbers) == 1]:
        raise ConfigError(f"{placed.folder} lacks every answer to {some(lonely)} (.jpg); place there {HOLIDAYS}")
    queries, truths = [], []
    for group, numbers in groups.items():
        query = stems.index(f"{group}00")
        queries.append(Query(placed.path(stems[query])))
        truths.append({"ok": [number for number in numbers if number != query], "junk": [query]})
    return Dataset(queries, {"all": truths}, placed.database(stems), "Holidays", placed.folder)


def _stem(line: str, path: Path) -> str:
    stem, suffix = os.path.splitext(line)
    if suffix != ".jpg" or not _NAME.fullmatch(stem):
        raise ConfigError(f"{path} must hold one name like 100000.jpg a line, got {line!r:.60}")
    return stem
