"""The image and the hubness of every descriptor as arrays: a search through the graph asks for thousands of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfvlad.index.catalog._rows import Ids, State


class Columns:
    """The image and the hubness of every descriptor of a state of the catalog, 20 bytes for each.

    `tfvlad.index.catalog.Snapshot.fill` brings them in line with the catalog.

    Attributes:
      state: that they stand for.
      descriptors: their ids, in order.
    """

    def __init__(self) -> None:
        self.state = State()
        self.descriptors: Ids = np.empty(0, np.int64)
        self._images: Ids = np.empty(0, np.int64)
        self._hubness: NDArray[np.float32] | None = None

    @property
    def has_hubness(self) -> bool:
        return self._hubness is not None

    def follow(self, state: State, removed: Ids, added: Ids, images: Ids) -> None:
        """Goes on to a later state; hubness is forgotten.

        Args:
          state: the later one.
          removed: descriptors.
          added: descriptors by id, all above those that are there.
          images: of the added ones.
        """
        left = np.isin(self.descriptors, removed, invert=True)
        self.descriptors = np.concatenate([self.descriptors[left], added])
        self._images = np.concatenate([self._images[left], images])
        self.state = state
        self.forget_hubness()

    def forget_hubness(self) -> None:
        self._hubness = None

    def put_hubness(self, descriptors: Ids, values: NDArray[np.float64]) -> None:
        """Sets the hubness of these descriptors; all others get the average."""
        hubness = np.full(len(self.descriptors), np.nan)
        places, there = self._places(descriptors)
        hubness[places[there]] = values[there]
        self._hubness = known_or_average(hubness, values)

    def images_of(self, descriptors: Ids) -> Ids:
        """The image of each descriptor, in the shape of `descriptors`; -1 for a descriptor that is not there."""
        places, there = self._places(descriptors)
        images = np.full(descriptors.shape, -1, np.int64)
        images[there] = self._images[places[there]]
        return images

    def hubness_of(self, descriptors: Ids) -> NDArray[np.float32]:
        """The hubness of each descriptor, in the shape of `descriptors`; 0 for a descriptor that is not there."""
        assert self._hubness is not None
        places, there = self._places(descriptors)
        values = np.zeros(descriptors.shape, np.float32)
        values[there] = self._hubness[places[there]]
        return values

    def _places(self, descriptors: Ids) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where descriptors stand in the arrays, and whether they do."""
        places = np.searchsorted(self.descriptors, descriptors)
        there = places < len(self.descriptors)
        there[there] = self.descriptors[places[there]] == descriptors[there]
        return places, there


def known_or_average(values: ArrayLike, known: ArrayLike) -> NDArray[np.float32]:
    """Hubness within its bounds; values that are not finite become the average of all that are known, 0 without any."""
    finite = np.asarray(known, np.float64)
    finite = np.clip(finite[np.isfinite(finite)], -1, 1)
    average = finite.mean() if len(finite) else 0.0
    hubness: NDArray[np.float32] = np.where(np.isfinite(values), np.clip(values, -1, 1), average).astype(np.float32)
    return hubness
