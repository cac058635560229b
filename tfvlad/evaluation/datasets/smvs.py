"""Stanford Mobile Visual Search (Chandrasekhar et al., MMSys 2011): clean pictures, and photographs by phones.

Each category (``dvd_covers``, ``book_covers`` …) has a folder ``Reference``, the database, and one per device
(``Canon``, ``Droid``, ``E63``, ``Palm``, ``5800`` …), the queries. Query ``Canon/017.jpg`` shows ``Reference/017.jpg``
and nothing else. The authors report how many queries find it first, which is recall@1. Average precision follows the
trapezoid rule as for the other data sets: with one right answer beyond rank 1, it is half of the reciprocal rank.
"""

from __future__ import annotations

import os
from pathlib import Path

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets._published_files import first_few
from tfvlad.evaluation.datasets.dataset import DatabaseImage, Dataset, Query
from tfvlad.images.listing import image_paths

SMVS = "a category's folder of https://web.cs.wpi.edu/~claypool/mmsys-dataset/2011/stanford/, such as dvd_covers"

_DATABASE = "Reference"


def smvs(folder: str | os.PathLike[str]) -> Dataset:
    """Loads one category from its published files.

    Args:
      folder: the folder of a category, for the photographs by all devices, or the folder of one device in it.

    Raises:
      ConfigError: a folder is missing, or a query has no reference.
    """
    given = Path(folder)
    category = given.parent if (given.parent / _DATABASE).is_dir() and given.name != _DATABASE else given
    if not (category / _DATABASE).is_dir():
        raise ConfigError(f"{given} holds no folder {_DATABASE}; place there {SMVS}")
    devices = sorted(path for path in category.iterdir() if path.is_dir() and path.name != _DATABASE)
    if category != given:
        devices = [given]
    queries = [path for device in devices if not device.name.startswith(".") for path in image_paths(device)]
    if not queries:
        raise ConfigError(f"{category} holds no folder of photographs, such as Canon; place there {SMVS}")
    references = image_paths(category / _DATABASE)
    ids = {Path(path).stem: number for number, path in enumerate(references)}
    if len(ids) < len(references):
        raise ConfigError(f"{category / _DATABASE} must hold one image of each number, got {len(references)} images")
    if strays := [os.path.relpath(path, category) for path in queries if Path(path).stem not in ids]:
        raise ConfigError(f"{category / _DATABASE} lacks what {first_few(strays)} shows: an image of the same number")
    database = [DatabaseImage(os.path.relpath(path, category), path, number) for number, path in enumerate(references)]
    truths = [{"ok": [ids[Path(path).stem]], "junk": []} for path in queries]
    name = f"Stanford Mobile Visual Search, {os.path.relpath(given, category.parent)}"
    return Dataset([Query(path) for path in queries], {"all": truths}, database, name, os.fspath(category))
