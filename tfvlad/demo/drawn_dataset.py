"""The demo's data set, which no one has to download: covers, and photographs of them as queries with known answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfvlad.demo.camera import photograph
from tfvlad.demo.covers import draw_cover
from tfvlad.errors import ConfigError
from tfvlad.images.listing import list_images


class DrawnDataset(NamedTuple):
    """The folders of a drawn data set; ``NNN.jpg`` shows the same cover in each (rule ``same_name``).

    Attributes:
      covers: the covers themselves, the images to index.
      photographs: a photograph of each cover, the queries.
      fitting: another photograph of each cover, to fit an encoder on without having seen the queries.
    """

    covers: Path
    photographs: Path
    fitting: Path


class OddQueries(NamedTuple):
    """Two photographs that are unlike those of a drawn data set.

    Attributes:
      turned: one of the photographs, lying on its side.
      stranger: a photograph of a cover that is not in the data set.
    """

    turned: Path
    stranger: Path


def draw_dataset(folder: str | os.PathLike[str], *, covers: int = 60, seed: int = 0) -> DrawnDataset:
    """Draws covers, and two photographs of each, as JPEG files.

    The same seed gives the same bytes with the same versions of NumPy and Pillow, and the first covers of a larger
    data set are those of a smaller one.

    Args:
      folder: the folder in which ``covers``, ``photographs`` and ``fitting`` are made; an earlier drawing there is
        overwritten.
      covers: number of covers.
      seed: settles everything that is drawn; not negative.

    Returns:
      The three folders.

    Raises:
      ConfigError: `covers` or `seed` is too small, or one of the folders holds other images, which would be taken for
        part of the data set.
    """
    if covers < 1:
        raise ConfigError(f"covers must be 1 or more, got {covers}")
    if seed < 0:
        raise ConfigError(f"seed must not be negative, got {seed}")
    names = [f"{number:03}.jpg" for number in range(covers)]
    dataset = DrawnDataset(*(Path(folder, name) for name in DrawnDataset._fields))
    for part in dataset:
        part.mkdir(parents=True, exist_ok=True)
        if others := sorted(set(list_images(part)) - set(names)):
            raise ConfigError(f"{part} must hold no other images than those to be drawn, and has {others[0]}")
    for number, name in enumerate(names):
        cover = draw_cover(np.random.default_rng((seed, number, 0)))
        cover.save(dataset.covers / name, quality=92)
        for take, part in enumerate((dataset.photographs, dataset.fitting), start=1):
            rng = np.random.default_rng((seed, number, take))
            image, _ = photograph(cover, rng)
            image.save(part / name, quality=int(rng.integers(45, 92)))
    return dataset


def draw_odd_queries(
    folder: str | os.PathLike[str], upright: str | os.PathLike[str], *, covers: int = 60, seed: int = 0
) -> OddQueries:
    """Draws a query that lies on its side, and one that has no answer.

    Args:
      folder: where ``turned.jpg`` and ``stranger.jpg`` are made.
      upright: the photograph that is turned.
      covers: see `draw_dataset`.
      seed: likewise.

    Returns:
      The two files.
    """
    odd = OddQueries(Path(folder, "turned.jpg"), Path(folder, "stranger.jpg"))
    with Image.open(upright) as first:
        first.transpose(Image.Transpose.ROTATE_90).save(odd.turned, quality=90)
    other = draw_cover(np.random.default_rng((seed, covers, 0)))
    photograph(other, np.random.default_rng((seed, covers, 1)))[0].save(odd.stranger, quality=90)
    return odd
