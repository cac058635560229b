"""The files of public benchmarks as they are published, with images that are empty: no loader reads one."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def place(folder: Path, *names: str) -> Path:
    """Empty files: no loader reads an image."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write(folder: Path, **texts: str) -> None:
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


def revisited(tmp_path: Path, content: bytes, name: str = "gnd_roxford5k.pkl") -> Path:
    stems = REVISITED["imlist"] + REVISITED["qimlist"]
    place(tmp_path / "roxford5k" / "jpg", *(f"{stem}.jpg" for stem in stems))
    (tmp_path / "roxford5k" / name).write_bytes(content)
    return tmp_path / "roxford5k"


# Two groups of INRIA Holidays, of three photographs and of two.
HOLIDAYS = ["100000.jpg", "100001.jpg", "100002.jpg", "100100.jpg", "100101.jpg"]


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
