"""The output folder of a sweep: nobody else's, and one sweep at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tfvlad.errors import ConfigError
from tfvlad.storage.atomic import atomic_file
from tfvlad.storage.locks import sole_writer

MARKER = "tfvlad-sweep.txt"  # by which a sweep's folder is known; written first

_NOTE = "This folder is written by tfvlad's sweeps: the next one may replace or delete what is in it.\n"


def check_output(folder: str) -> None:
    """Refuses a folder that holds anything and is not of an earlier sweep, before the work whose results it is to hold.

    Raises:
      ConfigError: names the folder and something in it.
    """
    if not os.path.lexists(folder):
        return
    if not os.path.isdir(folder):
        raise ConfigError(f"{folder} is not a folder; give one for the results that is empty or not there yet")
    held = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # as files being written do
    if held and MARKER not in held:
        raise ConfigError(
            f"{folder} holds {held[0]} and is not of an earlier sweep; give a folder that is empty or new"
        )


@contextlib.contextmanager
def claimed(folder: str) -> Iterator[None]:
    """Makes a folder a sweep's, where it is not yet, and keeps every other sweep out of it.

    Raises:
      ConfigError: see `check_output`.
      ArtifactError: another sweep is at work there.
    """
    check_output(folder)
    marker = os.path.join(folder, MARKER)
    if not os.path.exists(marker):
        with atomic_file(marker) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(_NOTE)
    with sole_writer(folder):
        yield
