"""PCA-whitening: what it must do to the data, and the dimensions that it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tfvlad.errors import ConfigError
from tfvlad.whitening import Whitening, check_dim, fit_whitening


@pytest.fixture(scope="module")
def vlads() -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.normal(size=(300, 40)) @ generator.normal(size=(40, 40)) + 3).astype(np.float32)


@pytest.mark.parametrize("samples", [300, 1500])  # the exact and the randomised decomposition
def test_the_sample_becomes_white(samples: int) -> None:
    generator = np.random.default_rng(0)
    scales = np.geomspace(10, 0.1, 40)
    vlads = (generator.normal(size=(samples, 40)) * scales + 3).astype(np.float32)
    projection, offset = fit_whitening(vlads, 10, seed=0).folded()
    white = vlads @ projection - offset
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(white.T), np.eye(10), atol=2e-2)


def test_folding_is_the_textbook_formula(vlads: np.ndarray) -> None:
    whitening = fit_whitening(vlads, 5, seed=0)
    projection, offset = whitening.folded()
    textbook = (vlads - whitening.mean) @ whitening.components.T / np.sqrt(whitening.variances)
    np.testing.assert_allclose(vlads @ projection - offset, textbook, atol=1e-4)
    np.testing.assert_allclose(whitening.components @ whitening.components.T, np.eye(5), atol=1e-5)
    assert list(whitening.variances) == sorted(whitening.variances, reverse=True)


def test_a_seed_makes_it_reproducible(vlads: np.ndarray) -> None:
    many = np.tile(vlads, (5, 1)) + np.random.default_rng(1).normal(size=(1500, 40)).astype(np.float32)
    one, same = fit_whitening(many, 8, seed=3), fit_whitening(many, 8, seed=3)
    np.testing.assert_array_equal(one.components, same.components)


def test_the_largest_possible_dim_is_named(vlads: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="dim=128 is too large: 60 images and VLADs of 40 dimensions give 40 at"):
        check_dim(128, 60, 40)
    with pytest.raises(ConfigError, match="give 9 at most"):
        fit_whitening(vlads[:10], 10, seed=0)
    assert isinstance(fit_whitening(vlads[:10], 9, seed=0), Whitening)


def test_copies_span_fewer_directions_than_their_number(vlads: np.ndarray) -> None:
    copies = np.concatenate([vlads[:6]] * 5)  # 30 rows, 6 different ones: 5 directions about their mean
    with pytest.raises(ConfigError, match=r"differ in only 5 directions .* dim of 5 at most"):
        fit_whitening(copies, 8, seed=0)


def test_vlads_that_do_not_differ_are_refused_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(ConfigError, match="differ in only 0 directions"):
        fit_whitening(np.ones((10, 8), np.float32), 3, seed=0)
    assert not recwarn.list
