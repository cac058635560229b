"""The Keras layers against the slow reference and the kernels, and their round trip."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import reference

from tfvlad.encoding.keras_layers import VLAD, LocalFeatures, Whitening
from tfvlad_kernels import encode_vlad


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_local_features_are_the_cells_row_by_row_at_unit_length() -> None:
    maps = np.zeros((1, 2, 2, 2), np.float32)
    maps[0, 0, 1] = (3, 4)  # length 5
    maps[0, 1, 0] = (0, 2)
    features = np.asarray(LocalFeatures()(maps))
    np.testing.assert_allclose(features, [[[0, 0], [0.6, 0.8], [0, 1], [0, 0]]], atol=1e-7)


@pytest.mark.parametrize("intra_norm", [True, False])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_vlad_equals_reference_and_kernel(generator: np.random.Generator, intra_norm: bool, power: float) -> None:
    features = generator.normal(size=(3, 40, 7)).astype(np.float32)
    centroids = generator.normal(size=(5, 7)).astype(np.float32)
    layer = VLAD(5, intra_norm, power, centroids=centroids)
    vlads = np.asarray(layer(features))
    assert vlads.shape == (3, 35)
    for image, vlad in zip(features, vlads, strict=True):
        np.testing.assert_allclose(vlad, reference.vlad(image, centroids, intra_norm, power), atol=1e-5)
    np.testing.assert_allclose(vlads, encode_vlad(features, centroids, intra_norm=intra_norm, power=power), atol=1e-5)


def test_empty_clusters_ties_and_no_features_give_what_the_kernel_gives() -> None:
    # Both centroids are as near to (0, 1): it goes to the first. The third cluster stays empty.
    centroids = np.array([[1, 1], [-1, 1], [0, -9]], np.float32)
    features = np.array([[[0, 1]]], np.float32)
    np.testing.assert_allclose(VLAD(3, centroids=centroids)(features), [[-1, 0, 0, 0, 0, 0]])
    nothing = np.zeros((1, 0, 2), np.float32)
    np.testing.assert_array_equal(VLAD(3, centroids=centroids)(nothing), np.zeros((1, 6)))


def test_whitening_by_hand() -> None:
    # (3, 5) @ [[2, 0], [0, 1]] - (6, 1) = (0, 4) -> (0, 1)
    layer = Whitening(2, projection=np.array([[2, 0], [0, 1]], np.float32), offset=np.array([6, 1], np.float32))
    np.testing.assert_allclose(layer(np.array([[3, 5]], np.float32)), [[0, 1]])


def test_a_model_of_the_layers_survives_saving(generator: np.random.Generator, tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 6))
    x = LocalFeatures()(inputs)
    x = VLAD(4, power=0.5, centroids=generator.normal(size=(4, 6)).astype(np.float32))(x)
    x = Whitening(
        3,
        projection=generator.normal(size=(24, 3)).astype(np.float32),
        offset=generator.normal(size=3).astype(np.float32),
    )(x)
    model = keras.Model(inputs, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    maps = generator.normal(size=(2, 3, 5, 6)).astype(np.float32)
    assert model.output.shape == (None, 3)
    np.testing.assert_array_equal(loaded(maps), model(maps))
    again = VLAD.from_config(model.layers[2].get_config())
    assert (again.clusters, again.intra_norm, again.power) == (4, True, 0.5)
