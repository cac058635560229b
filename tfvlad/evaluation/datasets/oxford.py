"""Oxford5k and Paris6k (Philbin et al., CVPR 2007 and 2008): photographs of buildings, with 55 queries each.

A query is the part of its image inside a box. The protocol is that of the authors' ``compute_ap.cpp``: images listed as
good or ok are right answers, and so is the query's own image, which stays in the database; junk is taken out of the
ranking. Average precision is the area under the precision-recall curve by the trapezoid rule, from precision 1 at
recall 0 on; it is not the mean of the precisions at the right answers.

The archives that papers' results were computed on (``oxbuild_images.tgz``, ``paris_1.tgz``, ``paris_2.tgz``) have been
withdrawn. The archives that the authors publish in their place (``-v1``) hold the same images under the same names, but
with faces blurred, so that figures can differ a little from those of papers. Both kinds can be read.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets._published_files import PublishedFiles, first_few, read_lines
from tfvlad.evaluation.datasets.dataset import Dataset, Query, Size, Truth
from tfvlad.images import Box

OXFORD_IMAGES = "oxbuild_images-v1.tgz of https://www.robots.ox.ac.uk/~vgg/data/oxbuildings/"
PARIS_IMAGES = "paris_1-v1.tgz and paris_2-v1.tgz of https://www.robots.ox.ac.uk/~vgg/data/parisbuildings/"
OXFORD = f"what gt_files_170407.tgz and {OXFORD_IMAGES} unpack to"
PARIS = f"what paris_120310.tgz, {PARIS_IMAGES} unpack to"

# In the archives of 2008 these files are error pages, not images; https://www.robots.ox.ac.uk/~vgg/data/parisbuildings/corrupt.txt
CORRUPTED = {
    f"paris_{name}"
    for name in (
        "louvre_000136", "louvre_000146", "moulinrouge_000422", "museedorsay_001059", "notredame_000188",
        "pantheon_000284", "pantheon_000960", "pantheon_000974", "pompidou_000195", "pompidou_000196",
        "pompidou_000201", "pompidou_000467", "pompidou_000640", "sacrecoeur_000299", "sacrecoeur_000330",
        "sacrecoeur_000353", "triomphe_000662", "triomphe_000833", "triomphe_000863", "triomphe_000867",
    )
}  # fmt: skip

OXFORD_NAMES = r"(?!paris_)[a-z_]+_\d{6}"
PARIS_NAMES = r"paris_[a-z]+_\d{6}"

_OXFORD_PREFIX = "oxc1_"


def oxford5k(folder: str | os.PathLike[str]) -> Dataset:
    """Loads Oxford5k from its published files: 5,062 images, or 5,063 as the revisited set counts them.

    Args:
      folder: holds ``all_souls_000000.jpg`` … and ``all_souls_1_query.txt``, ``_good.txt``, ``_ok.txt``, ``_junk.txt``
        …, in sub-folders or not.

    Raises:
      ConfigError: something is missing or malformed.
    """
    files = PublishedFiles(folder, OXFORD, OXFORD_NAMES)
    return _buildings("Oxford5k", files, sorted(files.images), _OXFORD_PREFIX, Size(55, 5_062))


def paris6k(folder: str | os.PathLike[str]) -> Dataset:
    """Loads Paris6k from its published files: 6,412 images.

    The 20 corrupted images, which no decoder reads, are left out of the database, as in the revisited set, and out of
    the right answers, because no search could find them.

    Args:
      folder: holds ``paris_defense_000000.jpg`` … and ``defense_1_query.txt`` … as `oxford5k` has them.

    Raises:
      ConfigError: something is missing or malformed.
    """
    files = PublishedFiles(folder, PARIS, PARIS_NAMES)
    return _buildings("Paris6k", files, sorted(files.images.keys() - CORRUPTED), "", Size(55, 6_392))


def _buildings(name: str, files: PublishedFiles, stems: list[str], prefix: str, published: Size) -> Dataset:
    ids = {stem: number for number, stem in enumerate(stems)}
    queries, truths = [], []
    for path in files.require_files("*_query.txt"):
        stem, box = _read_query(path, prefix)
        lists = {kind: _read_list(path, kind) for kind in ("good", "ok", "junk")}
        files.require_images({stem, *lists["good"], *lists["ok"], *lists["junk"]} - CORRUPTED)
        right = dict.fromkeys(lists["good"] + lists["ok"])
        if both := right.keys() & lists["junk"]:
            raise ConfigError(f"the lists beside {path} have {first_few(sorted(both))} as right and as junk")
        if not right:
            raise ConfigError(f"the lists beside {path} have no right answer, good or ok")
        queries.append(Query(files.path(stem), box))
        truths.append(_truth(ids, right, dict.fromkeys(lists["junk"])))
    return Dataset(queries, {"all": truths}, files.database(stems), name, files.folder, published=published)


def _truth(ids: dict[str, int], right: dict[str, None], junk: dict[str, None]) -> Truth:
    return {kind: [ids[stem] for stem in stems if stem in ids] for kind, stems in (("ok", right), ("junk", junk))}


def _read_query(path: Path, prefix: str) -> tuple[str, Box]:
    """Reads an image's name and the box in it from a line such as ``oxc1_all_souls_000013 136.5 34.1 648.5 955.7``."""
    name, *numbers = " ".join(read_lines(path)).split() or [""]
    try:
        x1, y1, x2, y2 = (float(number) for number in numbers)
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    if not name.startswith(prefix) or not 0 <= x1 < x2 < math.inf or not 0 <= y1 < y2 < math.inf:
        raise ConfigError(f"{path} must hold the line '{prefix}IMAGE X1 Y1 X2 Y2' with a box in pixels")
    return name.removeprefix(prefix), (x1, y1, x2, y2)


def _read_list(query: Path, kind: str) -> list[str]:
    path = query.with_name(query.name.removesuffix("query.txt") + f"{kind}.txt")
    if not path.is_file():
        raise ConfigError(f"there is no {path}; it belongs to {query.name}")
    return read_lines(path)
