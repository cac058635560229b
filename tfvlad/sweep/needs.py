"""Whether there is room for a sweep, before it begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import NamedTuple

from tfvlad.errors import ConfigError
from tfvlad.sweep.forecast import Forecast
from tfvlad.sweep.scratch import scratch_folder


class Needs(NamedTuple):
    """What a sweep takes while it is at work.

    Attributes:
      disk: bytes in the output folder, at most.
      free: bytes that there are for it, what an earlier, stopped sweep has left there included.
      memory: bytes beside what is mapped from disk, at most, roughly.
    """

    disk: int
    free: int
    memory: int


def check_space(folder: str, forecasts: Sequence[Forecast]) -> Needs:
    """Compares what the image size that takes most needs, as each is cleared away before the next, with what is free.

    Raises:
      ConfigError: it does not fit.
    """
    disk = max(forecast.disk() for forecast in forecasts)
    place = os.path.abspath(folder)
    while not os.path.isdir(place):  # it is made only when there is work for it
        place = os.path.dirname(place)
    needs = Needs(disk, shutil.disk_usage(place).free + _held(folder), max(each.memory() for each in forecasts))
    if needs.disk > needs.free:
        raise ConfigError(
            f"{folder} has {in_words(needs.free)} free, and the sweep keeps up to {in_words(needs.disk)} there "
            "while it is at work; give an output folder on a larger disk, or fewer layers, clusters or images"
        )
    return needs


def in_words(size: int) -> str:
    """Bytes in GB, or in MB where they are few."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _held(folder: str) -> int:
    """Bytes of an earlier sweep's, which are used again or cleared away."""
    scratch = scratch_folder(folder)
    if not os.path.isdir(scratch):
        return 0
    return sum(entry.stat().st_blocks * 512 for entry in os.scandir(scratch))
