"""Drawn scenes whose local features can be computed anywhere: what two pictures of one of them agree on is known."""

from __future__ import annotations

import numpy as np

from tfvlad.matching.local_features import LocalFeatures

DIMENSIONS = 32


class Scene:
    """A plane on which every place looks different: waves in many directions, whose phases are the features."""

    def __init__(self, seed: int, detail: float = 12.0) -> None:
        generator = np.random.default_rng(seed)
        self._waves = generator.normal(0, detail, (2, DIMENSIONS))
        self._phases = generator.uniform(0, 2 * np.pi, DIMENSIONS)

    def picture(
        self,
        to_scene: np.ndarray,
        grid: tuple[int, int] = (20, 28),
        size: tuple[int, int] = (640, 480),
        noise: float = 0.0,
        seed: int = 0,
    ) -> LocalFeatures:
        """A picture of the scene.

        Args:
          to_scene: (2, 3) or (3, 3), from fractions of the picture to the scene.
          grid: (rows, columns) of cells.
          size: (width, height) in pixels.
          noise: standard deviation of what is added to the features, whose own is 0.7.
          seed: of the noise.
        """
        rows, columns = grid
        y, x = np.mgrid[0:rows, 0:columns] + 0.5
        positions = np.stack([x.ravel() / columns, y.ravel() / rows], axis=1)
        places = positions @ to_scene[:2, :2].T + to_scene[:2, 2]
        features = np.cos(places @ self._waves + self._phases)
        features += np.random.default_rng(seed).normal(0, noise, features.shape)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        descriptors = np.rint(127 * features).astype(np.int8)
        return LocalFeatures(positions, descriptors, (1 / columns, 1 / rows), size)


def seen(
    degrees: float = 0.0, zoom: float = 1.0, middle: tuple[float, float] = (0.0, 0.0), aspect: float = 4 / 3
) -> np.ndarray:
    """(3, 3) from fractions of a picture to a scene: turned, zoomed in on, its middle at a place of the scene.

    Without zoom the picture shows one unit of the scene from top to bottom, and `aspect` from left to right.
    """
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    linear = turn @ np.diag([aspect, 1.0])
    return np.array([[*linear[0], 0.0], [*linear[1], 0.0], [0.0, 0.0, 1.0]]) + np.array(
        [[0, 0, middle[0] - linear[0].sum() / 2], [0, 0, middle[1] - linear[1].sum() / 2], [0, 0, 0]]
    )
