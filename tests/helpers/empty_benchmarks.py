"""The published files of public benchmarks with empty images, which is enough for loaders: they read no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def make_empty_files(folder: Path, *names: str) -> Path:
    """Makes empty files with these paths below a folder; returns the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write_texts(folder: Path, **texts: str) -> None:
    """Writes text files: the names without ``.txt``, and what they hold."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)


# Query 0 shows database images 0 (easy) and 2 (hard), and a little of 1 (junk); query 1 shows 1, hard, and no other.
REVISITED: dict[str, Any] = {
    "imlist": ["all_souls_000001", "all_souls_000002", "all_souls_000003"],
    "qimlist": ["all_souls_000013", "hertford_000015"],
    "gnd": [
        {"bbx": [136.5, 34.1, 648.5, 955.7], "easy": [0], "hard": [2], "junk": [1]},
        {"bbx": [0, 0, 10, 20.5], "easy": [], "hard": [1], "junk": []},
    ],
}


def make_revisited(tmp_path: Path, content: bytes, name: str = "gnd_roxford5k.pkl") -> Path:
    """Makes a folder of revisited Oxford with the images of `REVISITED` and a ground truth file of this content."""
    stems = REVISITED["imlist"] + REVISITED["qimlist"]
    make_empty_files(tmp_path / "roxford5k" / "jpg", *(f"{stem}.jpg" for stem in stems))
    (tmp_path / "roxford5k" / name).write_bytes(content)
    return tmp_path / "roxford5k"


# Two groups of INRIA Holidays, of three photographs and of two.
HOLIDAYS = ["100000.jpg", "100001.jpg", "100002.jpg", "100100.jpg", "100101.jpg"]


class Trap:
    """An object that leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
