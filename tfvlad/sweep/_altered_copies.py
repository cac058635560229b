"""Queries for images without ground truth: altered copies of the images, each of which is to find its original.

This is a proxy. It rewards settings whose descriptors withstand cropping, turning, blurring and compression. It says
nothing about other viewpoints, other light or other cameras, in which photographs of the same thing differ.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from tfvlad.errors import ConfigError, ImageError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.images.crops import read_upright
from tfvlad.progress import Progress
from tfvlad.storage.atomic import atomic_file
from tfvlad.sweep._keys import digest, file_stamp

_COPY = re.compile(r"[0-9]{6,}-[0-9a-f]{12}\.jpg")  # position of the original, digest of what shapes the copy
_VERSION = 1  # raised whenever the same seed gives other copies
_LONGEST_SIDE = 1024  # pixels of a copy
_TURN = 20.0  # degrees, at most, to either side
_KEPT = (0.6, 0.85)  # share of each side that a crop keeps
_BLUR = (0.001, 0.004)  # standard deviation, as a share of the longest side
_QUALITY = (30, 70)  # of the JPEG
_GREY = (128, 128, 128)  # behind the corners of a turned image


def self_retrieval(
    database: list[DatabaseImage], count: int, folder: str | os.PathLike[str], seed: int, name: str, max_pixels: int
) -> Dataset:
    """Makes a data set whose queries are altered copies of a random part of its images.

    Each copy is turned, cropped, blurred and compressed by seeded random amounts. Copies that exist already are left
    alone, so that a stopped sweep finds its queries again; those of other seeds and images are deleted.

    Args:
      database: the images, with their positions as ids.
      count: number of copies, at most; images that cannot be read are passed over.
      folder: where the copies are written, as JPEG files.
      seed: chooses the images and the amounts.
      name: of the data set.
      max_pixels: see `tfvlad.EncoderConfig`.

    Raises:
      ConfigError: none of the images can be read.
    """
    os.makedirs(folder, exist_ok=True)
    copies: dict[int, str] = {}
    first_error: ImageError | None = None
    order = np.random.default_rng(seed).permutation(len(database))
    with Progress(None, "Altered copies", min(count, len(database))) as bar:
        for position in order.tolist():
            if len(copies) == count:
                break
            image = database[position]
            key = digest([_VERSION, seed, max_pixels, file_stamp(Query(image.path))])
            copy = os.path.join(folder, f"{position:06}-{key[:12]}.jpg")
            try:
                if not os.path.exists(copy):
                    pixels = read_upright(image.path, max_pixels)
                    _write(copy, pixels, np.random.default_rng((seed, position)))
            except ImageError as error:
                first_error = first_error or error
                continue
            copies[position] = copy
            bar.update()
    if not copies:
        raise ConfigError(f"none of the {len(database)} images can be read; the first is {first_error}")
    _delete_others(folder, set(copies.values()))
    places = sorted(copies)
    truths = [{"ok": [database[position].id], "junk": []} for position in places]
    return Dataset([Query(copies[position]) for position in places], {"all": truths}, database, name)


def alter(pixels: npt.NDArray[np.uint8], generator: np.random.Generator) -> Image.Image:
    """Turns, crops and blurs an image, (H, W, 3) uint8 RGB, by random amounts."""
    image = Image.fromarray(pixels)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    turned = image.rotate(generator.uniform(-_TURN, _TURN), Image.Resampling.BICUBIC, fillcolor=_GREY)
    kept = generator.uniform(*_KEPT)
    width, height = (max(1, round(side * kept)) for side in turned.size)
    left = int(generator.integers(turned.width - width, endpoint=True))
    top = int(generator.integers(turned.height - height, endpoint=True))
    cut = turned.crop((left, top, left + width, top + height))
    return cut.filter(ImageFilter.GaussianBlur(max(cut.size) * generator.uniform(*_BLUR)))


def _write(path: str, pixels: npt.NDArray[np.uint8], generator: np.random.Generator) -> None:
    altered = alter(pixels, generator)
    with atomic_file(path) as temporary:
        altered.save(temporary, "JPEG", quality=int(generator.integers(*_QUALITY, endpoint=True)))


def _delete_others(folder: str | os.PathLike[str], copies: Collection[str]) -> None:
    """Deletes copies of other seeds and of images that no longer exist; files with other names are left alone."""
    for entry in os.scandir(folder):
        if entry.path not in copies and _COPY.fullmatch(entry.name):
            os.unlink(entry.path)
