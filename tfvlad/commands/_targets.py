"""Paths that a command is told to write to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from tfvlad.errors import ConfigError


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Makes a failure to write name what the user named, not a temporary file beside it.

    Raises:
      ConfigError: instead of an OSError of the block.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{path} cannot be written: {error.filename} is not a folder") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def check_file(path: str) -> None:
    """Refuses a path that no file can be written to, before the work whose result it is to hold.

    Raises:
      ConfigError: says why.
    """
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder; give the path of a file")
    folder = os.path.dirname(os.path.abspath(path))
    with writing(path):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
