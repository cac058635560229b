from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image

from tfvlad.matching.cells import describe_cells
from tfvlad.matching.compression import Projection
from tfvlad.matching.local_features import LocalFeatures

Photographs: TypeAlias = Callable[[str, int], list[LocalFeatures]]

_SIDE = 320  # pixels


@pytest.fixture(scope="session")
def photographs(data_dir: Path) -> Photographs:
    """Compact local features, by SqueezeNet, of the first photographs of a folder: (folder, count) -> features."""
    import keras  # with TensorFlow, which many tests do without

    from tfvlad.images.loading import image_loader

    network = keras.models.load_model(data_dir / "squeezenet_imagenet_notop.keras")
    network = keras.Model(network.input, network.get_layer("fire5_concat").output)
    loader = image_loader(_SIDE, "fit", "caffe")

    def cells(path: Path) -> np.ndarray:
        maps = np.asarray(network(loader.load(os.fspath(path))[np.newaxis], training=False))[0]
        return maps / np.maximum(np.linalg.norm(maps, axis=-1, keepdims=True), 1e-12)

    def listed(folder: str, count: int) -> list[Path]:
        return sorted((data_dir / folder).glob("*.jpg"))[:count]

    projection = Projection.seeded(256)

    @functools.cache
    def features(folder: str, count: int) -> list[LocalFeatures]:
        return [describe_cells(cells(path), projection, Image.open(path).size) for path in listed(folder, count)]

    return features
