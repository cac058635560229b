"""Which copies of photographs `tfvlad duplicates` finds, and what it takes for a copy that is none.

The photographs are those of INRIA Holidays, in a folder as published, which has several photographs of each scene: they
are no copies of each other. Of every second scene's first photograph, copies are made with Pillow, seeded. Scenes with
even numbers are one half, on which the bounds in `tfvlad.matching.registration` were chosen; the others are the other.
A copy counts as found if it is in a group with its photograph; a group is false if it holds two photographs, or copies
of two.

imagededup's hashes see the same files, with the distance that does best on the first half. Its CNN is left out: its
weights are a download. `--peer` names the Python that has imagededup, if it is not this one.

    python benchmarks/duplicates.py --photographs holidays/jpg --cache cache --backbone squeezenet.keras \
        --preprocessing caffe --layer fire8_concat
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import importlib.abc
import importlib.machinery
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

HASHES = ("PHash", "DHash", "WHash")
DISTANCES = range(0, 21, 2)

Picture = Image.Image
Generator = np.random.Generator


@dataclasses.dataclass
class Row:
    """How one method did on one half.

    Attributes:
      method: with its distance, where it has one.
      half: 0 or 1.
      found: share of the copies of each kind that are found.
      groups: how many groups there are.
      false_groups: how many of them hold more than one photograph.
      false_files: how many files are in those.
      seconds: wall time of the comparison, without that of descriptors or hashes.
    """

    method: str
    half: int
    found: dict[str, float]
    groups: int
    false_groups: int
    false_files: int
    seconds: float


def cropped(picture: Picture, share: float, generator: Generator) -> Picture:
    """A part of a picture, anywhere in it, with this share of its width and of its height."""
    width, height = round(picture.width * share), round(picture.height * share)
    left, top = generator.integers(0, picture.width - width + 1), generator.integers(0, picture.height - height + 1)
    return picture.crop((int(left), int(top), int(left) + width, int(top) + height))


def smaller(picture: Picture, factor: int) -> Picture:
    size = max(1, round(picture.width / factor)), max(1, round(picture.height / factor))
    return picture.resize(size, Image.Resampling.LANCZOS)


def marked(picture: Picture) -> Picture:
    """A picture with a line of writing in its lower right corner."""
    layer = Image.new("RGBA", picture.size)
    place, size = (picture.width * 0.62, picture.height * 0.88), max(8, picture.height // 14)
    ImageDraw.Draw(layer).text(place, "(c) tfvlad 2026", fill=(255, 255, 255, 160), font_size=size)
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


ALTERATIONS: dict[str, Callable[[Picture, Generator], Picture]] = {
    "JPEG quality 30": lambda picture, _: picture,
    "half size": lambda picture, _: smaller(picture, 2),
    "quarter size": lambda picture, _: smaller(picture, 4),
    "cropped to 80 %": lambda picture, generator: cropped(picture, 0.8, generator),
    "cropped to 60 %": lambda picture, generator: cropped(picture, 0.6, generator),
    "turned by 90": lambda picture, _: picture.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda picture, _: picture.transpose(Image.Transpose.ROTATE_180),
    "turned by 10": lambda picture, _: picture.rotate(10, Image.Resampling.BICUBIC),
    "mirrored": lambda picture, _: ImageOps.mirror(picture),
    "brighter": lambda picture, _: ImageEnhance.Brightness(picture).enhance(1.3),
    "grey": lambda picture, _: ImageOps.grayscale(picture),
    "watermark": lambda picture, _: marked(picture),
    "border": lambda picture, _: ImageOps.expand(picture, round(0.04 * max(picture.size)), "white"),
    "PNG": lambda picture, _: picture,
}
KINDS = list(ALTERATIONS)


def make_copies(photographs: Sequence[Path], folder: Path) -> None:
    """Writes ``STEM-NN.jpg`` (``.png``) for each photograph and alteration."""
    folder.mkdir(parents=True)
    for path in photographs:
        with Image.open(path) as file:
            picture = file.convert("RGB")
        generator = np.random.default_rng(int(path.stem))
        for number, (name, alter) in enumerate(ALTERATIONS.items()):
            copy = folder / f"{path.stem}-{number:02}{'.png' if name == 'PNG' else '.jpg'}"
            options = {} if name == "PNG" else {"quality": 30 if name == "JPEG quality 30" else 90}
            alter(picture, generator).save(copy, **options)


def prepare(photographs: Path, half: int, folder: Path, limit: int) -> None:
    """Links one half's photographs into a folder, and makes the copies, unless they are there."""
    if folder.exists():
        return
    own = [path for path in sorted(photographs.glob("*.jpg")) if int(path.stem) // 100 % 2 == half][: limit or None]
    (folder / "originals").mkdir(parents=True)
    for path in own:
        (folder / "originals" / path.name).symlink_to(path.resolve())
    make_copies([path for path in own if path.stem.endswith("00")][::2], folder / "copies")


def judge(method: str, half: int, groups: Sequence[Sequence[str]], folder: Path, seconds: float) -> Row:
    """Compares groups of file names with what is known of them."""
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    found = collections.defaultdict(list)
    for name in sorted(os.listdir(folder / "copies")):
        photograph = f"{name.split('-')[0]}.jpg"
        own = group_of.get(name)
        found[KINDS[int(name.split("-")[1][:2])]].append(own is not None and own == group_of.get(photograph))
    false = [len(group) for group in groups if len({name.split("-")[0].split(".")[0] for name in group}) > 1]
    shares = {kind: float(np.mean(found[kind])) for kind in KINDS}
    return Row(method, half, shares, len(groups), len(false), sum(false), seconds)


def by_tfvlad(config: dict[str, Any], half: int, cache: Path, views: str) -> Row:
    """Groups by `tfvlad.Index.duplicates`; the encoder is fitted on the first half."""
    import tfvlad

    encoder_folder, index_folder = cache / "encoder", cache / f"half{half}-{views.replace(':', '')}.index"
    if not encoder_folder.exists():
        tfvlad.Encoder.fit(cache / "half0" / "originals", tfvlad.EncoderConfig(**config)).save(encoder_folder)
    if not index_folder.exists():
        with tfvlad.Index.create(index_folder, tfvlad.Encoder.load(encoder_folder), views=views) as index:
            index.sync([cache / f"half{half}" / "originals", cache / f"half{half}" / "copies"])
    with tfvlad.Index.open(index_folder) as index:
        start = time.perf_counter()
        found = index.duplicates()
        seconds = time.perf_counter() - start
    groups = [[os.path.basename(one.path) for one in group] for group in found.groups]
    for group in groups:
        if len({name.split("-")[0].split(".")[0] for name in group}) > 1:
            print("false:", sorted(name for name in group if "-" not in name) or group)
    return judge(f"tfvlad, {views}", half, groups, cache / f"half{half}", seconds)


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision, which imagededup imports for its CNN also where only hashes are asked for."""

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        is_absent = name.split(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_absent else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        return mock.MagicMock(__spec__=spec, __path__=[])

    def exec_module(self, module: object) -> None:
        pass


def distances_by_hashes(folder: Path) -> dict[str, list[tuple[str, str, int]]]:
    """The pairs of files that are near each other by each hash of imagededup, with their distances."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # only the CNN, which is not used here, needs it
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        sys.meta_path.insert(0, Absent())
    from imagededup.methods import hashing

    pairs: dict[str, list[tuple[str, str, int]]] = {}
    files = sorted([*(folder / "originals").iterdir(), *(folder / "copies").iterdir()])
    for name in HASHES:
        hasher = getattr(hashing, name)(verbose=False)
        hashes = {path.name: hasher.encode_image(image_file=path) for path in files}
        near = hasher.find_duplicates(encoding_map=hashes, max_distance_threshold=max(DISTANCES), scores=True)
        pairs[name] = [(one, other, int(far)) for one, others in near.items() for other, far in others if one < other]
    return pairs


def components(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names that pairs connect."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in pairs:
        parent[root(one)] = root(other)
    groups = collections.defaultdict(list)
    for name in parent:
        groups[root(name)].append(name)
    return list(groups.values())


def by_hashes(peer: str, cache: Path) -> list[Row]:
    """Groups by imagededup's hashes, each at its usual distance and at the best one of the first half."""
    found = []
    for half in (0, 1):
        command = [peer, __file__, "--hash", str(cache / f"half{half}")]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    rows = []
    files = sum(len(os.listdir(cache / "half0" / folder)) for folder in ("originals", "copies"))
    for name in HASHES:

        def row(half: int, most: int, name: str = name) -> Row:
            near = [(one, other) for one, other, far in found[half][name] if far <= most]
            return judge(f"{name}, distance {most}", half, components(near), cache / f"half{half}", 0.0)

        def worth(row: Row) -> float:
            share = float(np.mean([value for kind, value in row.found.items() if kind != "mirrored"]))
            return share - row.false_files / files

        best = max(DISTANCES, key=lambda most: worth(row(0, most)))
        rows += [row(half, most) for most, half in itertools.product(sorted({best, 10}), (0, 1))]
    return rows


def print_rows(rows: Sequence[Row]) -> None:
    print("| | " + " | ".join(f"{row.method}, half {row.half}" for row in rows) + " |")
    print("| --- |" + " --- |" * len(rows))
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(f"{row.found[kind]:.2f}" for row in rows) + " |")
    for name in ("groups", "false_groups", "false_files"):
        print(f"| {name} | " + " | ".join(str(getattr(row, name)) for row in rows) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="the folder of Holidays' photographs")
    parser.add_argument("--cache", type=Path, default=Path("duplicates-cache"), help="a folder for copies and indexes")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--weights")
    parser.add_argument("--preprocessing")
    parser.add_argument("--layer")
    parser.add_argument("--image_size", type=int, default=320)
    parser.add_argument("--views", nargs="+", default=["whole", "rotations:4"])
    parser.add_argument("--limit", type=int, default=0, help="photographs of each half; 0 takes all")
    parser.add_argument("--halves", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--peer", help="the Python that has imagededup; without it, the hashes are left out")
    parser.add_argument("--hash", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there, too")
    arguments = parser.parse_args()
    if arguments.hash:
        print(json.dumps(distances_by_hashes(arguments.hash)))
        return
    if not arguments.photographs:
        parser.error("--photographs is needed")
    for half in (0, 1):
        prepare(arguments.photographs, half, arguments.cache / f"half{half}", arguments.limit)
    names = ("backbone", "weights", "preprocessing", "layer", "image_size")
    config = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    rows = [
        by_tfvlad(config, half, arguments.cache, views)
        for views, half in itertools.product(arguments.views, arguments.halves)
    ]
    if arguments.peer:
        rows += by_hashes(arguments.peer, arguments.cache)
    print_rows(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
