"""Verification of copies: do two indexed images show one picture? By their local features, and then by their pixels."""

from __future__ import annotations

import collections
import os
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfvlad.config import MAX_PIXELS
from tfvlad.errors import Failure, ImageError
from tfvlad.images.files import read_file
from tfvlad.images.pictures import open_sized
from tfvlad.index._similar_pairs import Neighbour
from tfvlad.index._synced_folders import Folders
from tfvlad.index.catalog import Catalog, Stamp
from tfvlad.matching.local_features import LocalFeatures
from tfvlad.matching.registration import SIDE, Registration, register
from tfvlad.matching.verification import Candidate, CellVerifier, Query

_LARGEST = 2**63 - 1  # of SQLite's integers; some file systems hold later dates
_PICTURES = 4096  # that are in memory at once, some 15 kB each
_FEWEST_INLIERS = 8  # with fewer, which chance gives as well, the pixels are not looked at

Doubles = NDArray[np.float64]


class Link(NamedTuple):
    """Two images that show one picture.

    Attributes:
      registration: how the one lies in the other.
      inliers: local features that agree; 0 where none are kept, or the one is turned.
    """

    registration: Registration
    inliers: int


class IndexedFile(NamedTuple):
    """A file of the index that is as it was when it was indexed.

    Attributes:
      id: of the file.
      path: where it is.
      bytes: its size.
    """

    id: int
    path: str
    bytes: int


class CopyVerifier:
    """Compares indexed images; reads their files at a small size, each as seldom as it can.

    Attributes:
      failures: files that are gone, have changed since they were indexed, or cannot be read, by their ids.
      sizes: (width, height) in pixels of the images that were read.
    """

    def __init__(self, catalog: Catalog, index_folder: str, max_pixels: int | None) -> None:
        self.failures: dict[int, Failure] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self._catalog = catalog
        self._index_folder = index_folder
        self._max_pixels = max_pixels or MAX_PIXELS
        self._cells = CellVerifier(affine=False)
        self._pictures: collections.OrderedDict[int, Image.Image | None] = collections.OrderedDict()

    def links(
        self, image: int, through: int, to_it: Doubles, others: Sequence[Neighbour], again: Container[int] = ()
    ) -> list[Link | None]:
        """Compares an image with the neighbours of another one, which shows the same picture.

        Args:
          image: its id.
          through: the other one, or the image itself.
          to_it: (3, 3), how the image lies in that.
          others: the neighbours.
          again: those with which the image has been compared before, and is only where there are new local features.

        Returns:
          The link to each; None where it shows another picture, or cannot be read.
        """
        own = self._picture(image) if others else None
        if own is None:
            return [None] * len(others)
        ids = [one.image for one in others]
        direct = self._transforms(image, ids)
        stepwise = direct if through == image else self._transforms(through, ids)
        found: list[Link | None] = []
        for one, (inliers, straight), (_, step) in zip(others, direct, stepwise, strict=True):
            ways = [] if step is None or through == image else [(0, step @ to_it)]
            if one.image not in again:
                ways = [*([] if straight is None else [(inliers, straight)]), *ways, (0, one.guess @ to_it)]
            picture = self._picture(one.image) if ways else None
            found.append(None if picture is None else _link(own, picture, ways))
        return found

    def files(self, images: Sequence[int]) -> dict[int, list[IndexedFile]]:
        """The files of images, by id; those that are gone or have changed are left out, and noted as failures."""
        usable: dict[int, list[IndexedFile]] = {image: [] for image in images}
        with self._catalog.read() as snapshot:
            folders = Folders(snapshot.roots(), self._index_folder, snapshot.path)
            located = list(snapshot.files_of(np.array(images, np.int64)))
            stamps = snapshot.stamps_of(np.array([file for _, file, _, _ in located], np.int64))
        for image, file, root, path in located:
            full = folders.full_path(root, path)
            try:
                status = os.stat(full)
            except (OSError, ValueError) as error:
                self._fail(file, full, getattr(error, "strerror", None) or "no such file")
                continue
            if Stamp(status.st_size, status.st_mtime_ns & _LARGEST) != stamps.get(file):
                self._fail(file, full, "has changed since it was indexed; run tfvlad index")
            else:
                usable[image].append(IndexedFile(file, full, status.st_size))
        return usable

    def _transforms(self, image: int, others: Sequence[int]) -> list[tuple[int, Doubles | None]]:
        """How many local features of each pair agree, and on which transform; None where they are too few."""
        with self._catalog.read() as snapshot:
            kept = snapshot.local_features_of(np.array([image, *others], np.int64))
            features = {owner: LocalFeatures.from_bytes(data, snapshot.path) for owner, data in kept}
        if image not in features:
            return [(0, None)] * len(others)
        candidates = [Candidate("", [features[other]] if other in features else []) for other in others]
        matches = self._cells.verify(Query("", [features[image]]), candidates)
        return [(match.inliers, match.transform if match.inliers >= _FEWEST_INLIERS else None) for match in matches]

    def _picture(self, image: int) -> Image.Image | None:
        """An image in grey and small; None where none of its files can be read."""
        if image in self._pictures:
            self._pictures.move_to_end(image)
            return self._pictures[image]
        picture = None
        for file in self.files([image])[image]:
            try:
                picture, self.sizes[image] = _read(file.path, self._max_pixels)
            except ImageError as error:
                self._fail(file.id, file.path, error.reason)
                continue
            break
        self._pictures[image] = picture
        if len(self._pictures) > _PICTURES:
            self._pictures.popitem(last=False)
        return picture

    def _fail(self, file: int, path: str, reason: str) -> None:
        self.failures[file] = Failure(path, reason)


def _read(path: str, max_pixels: int) -> tuple[Image.Image, tuple[int, int]]:
    """Reads an image file in grey and small, on white where it is transparent, and how large it is, upright.

    Raises:
      ImageError: it cannot be read.
    """
    picture, size = open_sized(read_file(path), path, max_pixels, SIDE)
    small = picture.convert("RGBA")
    small.thumbnail((SIDE, SIDE))
    opaque = Image.new("RGB", small.size, "white")
    opaque.paste(small, mask=small)
    return opaque.convert("L"), size


def _link(first: Image.Image, second: Image.Image, ways: Iterable[tuple[int, Doubles]]) -> Link | None:
    """Lays two pictures on each other in several ways, with the inliers of each, until one fits."""
    for inliers, transform in ways:
        registration = register(first, second, transform)
        if registration is not None and registration.is_same_picture:
            return Link(registration, inliers)
    return None
