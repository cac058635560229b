"""Files that a user has placed in a folder, looked up by name; what is missing is named, with its source."""

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


class Placed:
    """A folder with the files of a published data set, in whatever sub-folders their archives unpack to.

    Attributes:
      folder: the folder.
      source: what belongs there and where it is published, for messages.
      images: of its images, name without folder and suffix -> path relative to the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], source: str, names: str) -> None:
        """Looks the folder through.

        Args:
          folder: the folder.
          source: see the class.
          names: regular expression of the images' names without suffix; what has another name is none of them.

        Raises:
          ConfigError: it is no folder or holds none of the images, or two of them have the same name.
        """
        self.folder = os.fspath(folder)
        self.source = source
        if not os.path.isdir(self.folder):
            raise ConfigError(f"{self.folder} is not a folder; place there {source}")
        places: dict[str, list[str]] = defaultdict(list)
        for name in list_images(self.folder):
            if re.fullmatch(names, stem := PurePath(name).stem):
                places[stem].append(name)
        if not places:
            raise ConfigError(f"{self.folder} holds none of the images; place there {source}")
        if twice := [names for names in places.values() if len(names) > 1]:
            raise ConfigError(
                f"{self.folder} must hold each image once, got {' and '.join(twice[0][:2])}; give each data set, and "
                "each version of it, a folder of its own"
            )
        self.images = {stem: names[0] for stem, names in places.items()}

    def find(self, pattern: str) -> list[Path]:
        """The files anywhere below the folder, links followed, whose names match, sorted by name."""
        found = glob.glob(os.path.join(glob.escape(self.folder), "**", pattern), recursive=True)
        # Links can lead in circles.
        once = {os.path.realpath(path): Path(path) for path in found if os.path.isfile(path)}
        return sorted(once.values(), key=lambda path: path.name)

    def files(self, pattern: str) -> list[Path]:
        """The same, of which there must be one at least.

        Raises:
          ConfigError: there is none.
        """
        found = self.find(pattern)
        if not found:
            raise ConfigError(f"{self.folder} holds no {pattern}; place there {self.source}")
        return found

    def require(self, stems: Iterable[str]) -> None:
        """Refuses a folder without these images.

        Raises:
          ConfigError: names what is missing.
        """
        if missing := sorted(set(stems) - self.images.keys()):
            raise ConfigError(f"{self.folder} lacks {some(missing)} (.jpg); place there {self.source}")

    def path(self, stem: str) -> str:
        """Where an image is."""
        return os.path.join(self.folder, self.images[stem])

    def database(self, stems: Collection[str]) -> list[DatabaseImage]:
        """These images, with their places in the sequence as ids."""
        return [DatabaseImage(self.images[stem], self.path(stem), number) for number, stem in enumerate(stems)]


def some(names: Iterable[str]) -> str:
    """The first few of many names."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def read_lines(path: Path) -> list[str]:
    """A text file's lines that are not blank, without the space around them; the end of a line may be any system's.

    Raises:
      ConfigError: it cannot be read as text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as text: {error}") from None
