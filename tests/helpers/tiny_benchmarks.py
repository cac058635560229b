"""Tiny copies of the public benchmarks, with images, in the folders and files in which they are published."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

WHOLE = (0.0, 0.0, 96.0, 72.0)  # the box that is all of a drawn photograph


def save(photograph: Path, path: Path, brightness: float = 1, box: tuple[int, int, int, int] | None = None) -> None:
    """Saves a photograph, or a part of it, brighter or darker: another photograph of the same object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(photograph) as image:
        ImageEnhance.Brightness(image.crop(box)).enhance(brightness).save(path, quality=95)


def series(photograph: Path, folder: Path, names: Sequence[str]) -> None:
    """Saves a photograph under several names, each a little brighter than the one before."""
    for number, name in enumerate(names):
        save(photograph, folder / f"{name}.jpg", 1 + 0.05 * number)


def lists(folder: Path, query: str, line: str, **names: Sequence[str]) -> None:
    """Writes the four text files of a query of Oxford5k or Paris6k."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{query}_query.txt").write_text(f"{line}\n")
    for kind in ("good", "ok", "junk"):
        (folder / f"{query}_{kind}.txt").write_text("".join(f"{name}\n" for name in names.get(kind, ())))


def oxford(folder: Path, photos: Sequence[Path]) -> Path:
    """Seven images; the query is the right half of the first of them, and the second shows this half."""
    images = folder / "oxbuild_images-v1"
    for number, photograph in enumerate(photos[:7]):
        save(photograph, images / f"all_souls_{number:06}.jpg")
    save(photos[0], images / "all_souls_000001.jpg", box=(48, 0, 96, 72))
    line = "oxc1_all_souls_000000 47.6 0 96 72.2"
    lists(folder / "gt_files_170407", "all_souls_1", line, good=["all_souls_000001"])
    return folder


def revisited_oxford(folder: Path, photos: Sequence[Path]) -> Path:
    """The images of `oxford`; both queries show the second, which is hard for one and easy for the other."""
    oxford(folder, photos)
    hard: dict[str, Any] = {"easy": [], "hard": [0], "junk": [1]}
    easy: dict[str, Any] = {"easy": [0], "hard": [], "junk": []}
    truth = {
        "imlist": [f"all_souls_{number:06}" for number in (1, 2, 3, 4)],
        "qimlist": ["all_souls_000000", "all_souls_000000"],
        "gnd": [
            {"bbx": np.array([47.6, 0, 96, 72.2]), **{key: np.array(value, int) for key, value in entry.items()}}
            for entry in (hard, easy)
        ],
    }
    (folder / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(truth, 2))
    return folder


def paris(folder: Path, photos: Sequence[Path]) -> Path:
    """Two landmarks with three photographs each, and a corrupted image among the right answers."""
    for landmark, photograph in zip(("defense", "louvre"), photos, strict=False):
        names = [f"paris_{landmark}_{number:06}" for number in range(3)]
        series(photograph, folder / "paris" / landmark, names)
        line = f"{names[0]} {' '.join(map(str, WHOLE))}"
        good = [*names[:2], "paris_louvre_000136"]
        lists(folder / "paris_120310", f"{landmark}_1", line, good=good, ok=names[2:])
    (folder / "paris" / "louvre" / "paris_louvre_000136.jpg").write_text("<html>302 Found</html>")
    return folder


def holidays(folder: Path, photos: Sequence[Path]) -> Path:
    """Three groups of three, of which the evaluation package lists all."""
    names = [[f"10{group:02}{number:02}" for number in range(3)] for group in range(3)]
    for photograph, group in zip(photos, names, strict=False):
        series(photograph, folder / "jpg", group)
    (folder / "eval_holidays").mkdir()
    listed = "".join(f"{name}.jpg\n" for group in names for name in group)
    (folder / "eval_holidays" / "holidays_images.dat").write_text(listed)
    return folder


def ukbench(folder: Path, photos: Sequence[Path]) -> Path:
    """Three objects with four images each."""
    for number, photograph in enumerate(photos[:3]):
        series(photograph, folder / "full", [f"ukbench{4 * number + image:05}" for image in range(4)])
    return folder


def smvs(folder: Path, photos: Sequence[Path]) -> Path:
    """Four covers, photographed by two devices."""
    for number, photograph in enumerate(photos[:4], start=1):
        for device, brightness in (("Reference", 1), ("Canon", 1.05), ("E63", 0.95)):
            save(photograph, folder / device / f"{number:03}.jpg", brightness)
    return folder
