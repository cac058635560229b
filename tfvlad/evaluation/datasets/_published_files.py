"""The published files of a benchmark in a user's folder: found by name, and named where they are missing."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path, PurePath

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets.dataset import DatabaseImage
from tfvlad.images.listing import list_images

_SHOWN = 3


class PublishedFiles:
    """A folder that holds the published files of a data set, in whatever sub-folders the archives unpack to.

    Attributes:
      folder: path of the folder.
      source: which files belong there and where they are published; messages quote it.
      images: stem (file name without folder and suffix) of each image of the data set -> path relative to the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], source: str, names: str) -> None:
        """Lists the images in the folder.

        Args:
          folder: path of the folder.
          source: see the class.
          names: regular expression that the stems of the data set's images match; other images are ignored.

        Raises:
          ConfigError: it is not a folder, it holds no such image, or two images have the same stem.
        """
        self.folder = os.fspath(folder)
        self.source = source
        if not os.path.isdir(self.folder):
            raise ConfigError(f"{self.folder} is not a folder; place there {source}")
        found: dict[str, list[str]] = defaultdict(list)
        for name in list_images(self.folder):
            if re.fullmatch(names, stem := PurePath(name).stem):
                found[stem].append(name)
        if not found:
            raise ConfigError(f"{self.folder} holds none of the images; place there {source}")
        if twice := [names for names in found.values() if len(names) > 1]:
            raise ConfigError(
                f"{self.folder} must hold each image once, got {' and '.join(twice[0][:2])}; give each data set, and "
                "each version of it, a folder of its own"
            )
        self.images = {stem: names[0] for stem, names in found.items()}

    def find(self, pattern: str) -> list[Path]:
        """Returns the files anywhere below the folder whose names match, sorted by name; links are followed."""
        found = glob.glob(os.path.join(glob.escape(self.folder), "**", pattern), recursive=True)
        # Links can lead in circles, so a file may be found under several paths.
        once = {os.path.realpath(path): Path(path) for path in found if os.path.isfile(path)}
        return sorted(once.values(), key=lambda path: path.name)

    def require_files(self, pattern: str) -> list[Path]:
        """Returns the files that `find` finds, of which there must be one at least.

        Raises:
          ConfigError: there is none.
        """
        found = self.find(pattern)
        if not found:
            raise ConfigError(f"{self.folder} holds no {pattern}; place there {self.source}")
        return found

    def require_images(self, stems: Iterable[str]) -> None:
        """Checks that the folder holds these images.

        Raises:
          ConfigError: some are missing; the message names them.
        """
        if missing := sorted(set(stems) - self.images.keys()):
            raise ConfigError(f"{self.folder} lacks {first_few(missing)} (.jpg); place there {self.source}")

    def path(self, stem: str) -> str:
        """Returns the path of an image."""
        return os.path.join(self.folder, self.images[stem])

    def database(self, stems: Collection[str]) -> list[DatabaseImage]:
        """Returns these images as a database; their ids are their positions in the sequence, from 0."""
        return [DatabaseImage(self.images[stem], self.path(stem), number) for number, stem in enumerate(stems)]


def first_few(names: Iterable[str]) -> str:
    """Writes out the first three of many names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file that are not blank, without the spaces around them, with any system's line ends.

    Raises:
      ConfigError: the file cannot be read as text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}") from None
