"""The public benchmarks by name."""

from __future__ import annotations

import os
from collections.abc import Callable

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets.dataset import Dataset
from tfvlad.evaluation.datasets.holidays import holidays
from tfvlad.evaluation.datasets.oxford import oxford5k, paris6k
from tfvlad.evaluation.datasets.revisited import roxford5k, rparis6k
from tfvlad.evaluation.datasets.smvs import smvs
from tfvlad.evaluation.datasets.ukbench import ukbench

PUBLISHED: dict[str, Callable[[str | os.PathLike[str]], Dataset]] = {
    loader.__name__: loader for loader in (oxford5k, paris6k, roxford5k, rparis6k, holidays, ukbench, smvs)
}


def split_name(text: str) -> tuple[str, str]:
    """``oxford5k:/data/oxford`` -> the data set's name and its folder; any other text is a folder, without a name."""
    name, colon, folder = text.partition(":")
    if name not in PUBLISHED or (not colon and os.path.isdir(text)):
        return "", text
    return name, folder


def check_plain(folder: str) -> None:
    """Refuses a text that `split_name` takes for a folder, and that looks like a data set's name with one.

    Raises:
      ConfigError: says which data sets there are.
    """
    if ":" in folder and not os.path.isdir(folder):
        raise ConfigError(f"{folder} is no folder, and no data set with its folder; there are {', '.join(PUBLISHED)}")


def load_dataset(name: str, folder: str | os.PathLike[str]) -> Dataset:
    """Reads a public benchmark's ground truth from its files as published.

    Args:
      name: one of `PUBLISHED`.
      folder: where the user has placed them; see the loader of that name.

    Returns:
      The data set; ids are places in its `database`, from 0.

    Raises:
      ConfigError: there is no such data set, or files are missing or malformed; says which, and where they
        are published.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"there is no data set {name!r}; there are {', '.join(PUBLISHED)}")
    if not os.fspath(folder):
        raise ConfigError(f"in which folder is {name}? give {name}:FOLDER")
    return PUBLISHED[name](folder)
