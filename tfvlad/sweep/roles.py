"""Which images a sweep describes at one size, and what each is for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt

from tfvlad.evaluation.datasets import Box, Query

Rows = npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Roles:
    """The rows of the descriptors by what their images are for; -1 stands for an image that cannot be used.

    Attributes:
      fit: rows to fit the whitening on.
      database: (N,) row of each database image.
      queries: (Q,) row of each query.
    """

    fit: Rows
    database: Rows
    queries: Rows

    def without(self, failed: Collection[int]) -> Roles:
        """The same where these rows hold nothing."""
        rows = np.array(sorted(failed), np.intp)
        database, queries = (np.where(np.isin(part, rows), -1, part) for part in (self.database, self.queries))
        return Roles(self.fit[~np.isin(self.fit, rows)], database, queries)


def assign(fit: Iterable[Query], database: Iterable[Query], queries: Iterable[Query]) -> tuple[list[Query], Roles]:
    """Lists each image, or part of one, once, whatever it is for and whatever links lead to it.

    Returns:
      The images to describe, a row each, and what the rows are for.
    """
    images: list[Query] = []
    places: dict[tuple[str, Box | None], int] = {}

    def row(image: Query) -> int:
        key = (os.path.realpath(image.path), image.box)
        if key not in places:
            places[key] = len(images)
            images.append(image)
        return places[key]

    rows = [np.array([row(image) for image in part], np.intp) for part in (fit, database, queries)]
    return images, Roles(*rows)
