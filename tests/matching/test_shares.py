"""Shares of cells: they add up to the cosine, whatever the aggregation, and go to the cells that the pictures share."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from tfvlad.encoding.whitening import fit_whitening
from tfvlad.matching.shares import pooling_shares, vlad_shares
from tfvlad_kernels import encode_vlad

CLUSTERS, CHANNELS = 6, 16


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def local_features(seed: int, cells: int = 40) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(0.5, 1, (cells, CHANNELS)))


CODEBOOK = local_features(99, CLUSTERS) / 2


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "whitened"])
def whitening(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray] | None:
    if not request.param:
        return None
    vlads = encode_vlad([local_features(seed) for seed in range(60)], CODEBOOK)
    return fit_whitening(vlads, 20, seed=0).folded()


def finished(vectors: np.ndarray, whitening: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    return unit(vectors @ whitening[0] - whitening[1]) if whitening else unit(vectors)


@pytest.mark.parametrize("intra_norm", [True, False])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_shares_of_a_vlad_add_up_to_the_cosine(
    whitening: tuple[np.ndarray, np.ndarray] | None, intra_norm: bool, power: float
) -> None:
    images = [local_features(1), local_features(2, cells=25)]
    vlads = np.stack([reference.vlad(image, CODEBOOK, intra_norm, power) for image in images])
    first, second = finished(vlads, whitening)
    for image, other in ((images[0], second), (images[1], first)):
        shares = vlad_shares(image, other, CODEBOOK, whitening, intra_norm, power)
        assert shares.shape == (len(image),)
        assert shares.sum() == pytest.approx(float(first @ second), abs=1e-5)


@pytest.mark.parametrize("kind", ["mean", "max", "gem"])
def test_shares_of_a_pooling_add_up_to_the_cosine(kind: str) -> None:
    from tfvlad.encoding.keras_layers import Pooling

    generator = np.random.default_rng(0)
    maps = np.maximum(generator.normal(0, 2, (80, 5, 6, CHANNELS)), 0).astype(np.float32)
    maps[..., 3] = 0  # a channel that is never active
    vectors = np.asarray(Pooling(kind)(maps))
    fitted = fit_whitening(np.delete(vectors, 3, axis=1), 8, seed=0)
    projection, offset = fitted.folded()
    projection = np.insert(projection, 3, 0, axis=0)
    for whitening in (None, (projection, offset)):
        first, second = finished(vectors[:2], whitening)
        for image, other in ((maps[0], second), (maps[1], first)):
            shares = pooling_shares(image.reshape(30, CHANNELS), other, kind, whitening)
            assert shares.sum() == pytest.approx(float(first @ second), abs=1e-5)


def test_the_largest_shares_are_those_of_what_two_pictures_share() -> None:
    common = local_features(5, cells=12)
    images = [np.concatenate([common, local_features(seed, cells=28)]) for seed in (6, 7)]
    first, second = encode_vlad(images, CODEBOOK)
    for image, other in ((images[0], second), (images[1], first)):
        shares = vlad_shares(image, other, CODEBOOK)
        assert shares[:12].mean() > 2 * abs(shares[12:].mean())


def test_the_arithmetic_by_hand() -> None:
    # Two words on an axis each; residuals (0, 1) and (0, 3) of the first word, (1, 0) of the second.
    codebook = np.array([[10, 0], [0, 10]], np.float32)
    features = np.array([[10, 1], [10, 3], [1, 10]], np.float32)
    # Intra-normalised, the words' sums (0, 4) and (1, 0) become (0, 1) and (1, 0), to which the cells bring a quarter,
    # three quarters and all; both together have a length of sqrt(2).
    other = np.array([0, 1, 0, 0], np.float32)
    np.testing.assert_allclose(vlad_shares(features, other, codebook), np.array([0.25, 0.75, 0]) / np.sqrt(2))
    other = np.array([0, 0.6, 0.8, 0], np.float32)
    np.testing.assert_allclose(
        vlad_shares(features, other, codebook), np.array([0.15, 0.45, 0.8]) / np.sqrt(2), rtol=1e-6
    )


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_pictures_without_a_residual_have_no_shares(power: float) -> None:
    features = np.repeat(CODEBOOK[:1], 4, axis=0)
    other = unit(np.ones(CLUSTERS * CHANNELS))
    np.testing.assert_array_equal(vlad_shares(features, other, CODEBOOK, power=power), np.zeros(4))
    np.testing.assert_array_equal(
        pooling_shares(np.zeros((4, CHANNELS), np.float32), other[:CHANNELS], "gem"), np.zeros(4)
    )
