"""PCA-whitening: what it must do to the data, and the dimensions that it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tfvlad.encoding import whitening as module
from tfvlad.encoding.whitening import Whitening, check_dim, fit_whitening
from tfvlad.errors import ConfigError


@pytest.fixture(scope="module")
def vlads() -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.normal(size=(300, 40)) @ generator.normal(size=(40, 40)) + 3).astype(np.float32)


@pytest.fixture
def randomised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes small samples take the way of large ones."""
    monkeypatch.setattr(module, "_EXACT_UP_TO", 0)


def drawn(samples: int, size: int) -> np.ndarray:
    """Variances from 100 down to 0.01, about a mean of 3."""
    generator = np.random.default_rng(0)
    return (generator.normal(size=(samples, size)) * np.geomspace(10, 0.1, size) + 3).astype(np.float32)


# More samples than dimensions, fewer, and both in several parts.
@pytest.mark.parametrize(
    ("samples", "size", "part"), [(300, 40, 2**23), (30, 200, 2**23), (90, 50, 700), (50, 90, 700)]
)
def test_the_exact_way_is_scikit_learns(samples: int, size: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CENTRED", part)
    vlads = drawn(samples, size)
    pca = PCA(12, svd_solver="full").fit(vlads.astype(np.float64))
    found = fit_whitening(vlads, 12, seed=0)
    np.testing.assert_allclose(found.mean, pca.mean_, rtol=1e-6)
    np.testing.assert_allclose(found.variances, pca.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(found.components * pca.components_, axis=1)), 1, rtol=1e-6)


def test_small_variances_are_not_lost() -> None:
    # Standard deviations 1 and 0.002: a variance of 4e-6 of the first, about a mean 1000 times as large.
    generator = np.random.default_rng(0)
    vlads = np.zeros((60, 500))
    vlads[:, 0], vlads[:, 1] = generator.normal(size=60), 0.002 * generator.normal(size=60)
    vlads += 2
    vlads = vlads.astype(np.float32)
    expected = np.linalg.eigvalsh(np.cov(vlads[:, :2].astype(np.float64).T))[::-1]
    np.testing.assert_allclose(fit_whitening(vlads, 2, seed=0).variances, expected, rtol=1e-5)


@pytest.mark.parametrize(("samples", "size"), [(500, 200), (200, 500)])
def test_the_randomised_way_explains_as_much_as_the_exact_one(randomised: None, samples: int, size: int) -> None:
    vlads = drawn(samples, size)
    exact = PCA(20, svd_solver="full").fit(vlads.astype(np.float64))
    found = fit_whitening(vlads, 20, seed=0)
    np.testing.assert_allclose(found.variances, exact.explained_variance_, rtol=1e-3)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(20), atol=1e-5)


def test_the_randomised_way_refuses_copies_too(randomised: None) -> None:
    copies = np.tile(drawn(30, 400), (20, 1))  # 600 rows, 30 different ones: 29 directions about their mean
    with pytest.raises(ConfigError, match=r"differ in only 29 directions .* dim of 29 at most"):
        fit_whitening(copies, 40, seed=0)


def test_an_axis_points_to_its_largest_value(vlads: np.ndarray) -> None:
    components = fit_whitening(vlads, 5, seed=0).components
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(5), largest] > 0).all()


@pytest.mark.parametrize(("samples", "size"), [(300, 40), (1500, 40), (100, 400)])
def test_the_sample_becomes_white(samples: int, size: int) -> None:
    vlads = drawn(samples, size)
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


def test_shrinkage_raises_variances_by_a_share_of_their_mean(vlads: np.ndarray) -> None:
    plain = fit_whitening(vlads, 5, seed=0)
    by_hand = Whitening(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.array([3, 1], np.float32))
    assert by_hand.shrunk(0.5).variances.tolist() == [4, 2]  # the mean is 2
    assert plain.shrunk(0).variances.tolist() == plain.variances.tolist()
    projection, offset = plain.shrunk(0.3).folded()
    variances = np.var((vlads - vlads.mean(axis=0)) @ plain.components.T, axis=0, ddof=1)
    textbook = (vlads - vlads.mean(axis=0)) @ plain.components.T / np.sqrt(variances + 0.3 * variances.mean())
    np.testing.assert_allclose(vlads @ projection - offset, textbook, atol=1e-3)


def test_a_seed_makes_it_reproducible(randomised: None) -> None:
    vlads = drawn(200, 300)
    one, same, other = (fit_whitening(vlads, 8, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.components, same.components)
    assert not np.array_equal(one.components, other.components)


def test_the_largest_possible_dim_is_named(vlads: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="dim=128 is too large: 60 images and vectors of 40 dimensions give 40 at"):
        check_dim(128, 60, 40)
    with pytest.raises(ConfigError, match="give 9 at most"):
        fit_whitening(vlads[:10], 10, seed=0)
    assert isinstance(fit_whitening(vlads[:10], 9, seed=0), Whitening)


def test_copies_span_fewer_directions_than_their_number(vlads: np.ndarray) -> None:
    copies = np.concatenate([vlads[:6]] * 5)  # 30 rows, 6 different ones: 5 directions about their mean
    with pytest.raises(ConfigError, match=r"differ in only 5 directions .* dim of 5 at most"):
        fit_whitening(copies, 8, seed=0)


def test_vlads_that_do_not_differ_are_refused_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    for vector in (np.ones(8), np.linspace(0.1, 0.7, 8)):  # of the second, the mean differs in the last bits
        with pytest.raises(ConfigError, match="the 10 images all give the same vector"):
            fit_whitening(np.tile(vector.astype(np.float32), (10, 1)), 3, seed=0)
    assert not recwarn.list
