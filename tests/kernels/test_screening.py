"""Screening must never rule out the nearest centroid: judged in float64, also where it is hard."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tfvlad_kernels import assign, encode_vlad
from tfvlad_kernels.candidates import bound_scores
from tfvlad_kernels.codebook import fill_codes, new_codes
from tfvlad_kernels.codes import HAS_BYTE_PRODUCTS
from tfvlad_kernels.microkernel import LANES
from tfvlad_kernels.quantization import encode_features

KINDS = ("normal", "relu", "spike", "constant", "far", "tiny", "huge", "denormal", "tied", "mixed")


def draw(kind: str, generator: np.random.Generator, rows: int, depth: int) -> np.ndarray:
    """(rows, depth) float32 of a kind that is hard for eight bits, or usual."""
    normal = generator.standard_normal((rows, depth))
    values = {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "spike": normal * 1e-3 + 1e3 * (np.arange(depth) == generator.integers(depth)),
        "constant": np.broadcast_to(normal[:, :1], (rows, depth)),
        "far": 1e4 + normal,
        "tiny": normal * 1e-30,
        "huge": normal * 1e14,
        "denormal": normal * 1e-42,
        "tied": generator.integers(-1, 2, (rows, depth)),
        "colossal": normal * 1e18,
        "mixed": normal * 10.0 ** generator.integers(-8, 9, (rows, 1)),
    }
    return np.ascontiguousarray(values[kind], np.float32)


def products_of(codes: np.ndarray, panels: np.ndarray) -> np.ndarray:
    """(N, G), (P, G + 1, LANES) int32 -> (N, P * LANES) int32 products of their bytes."""
    weights = panels[:, :-1].view(np.int8).reshape(len(panels), -1, LANES, 4).astype(np.int64)
    weights = weights.transpose(1, 3, 0, 2).reshape(codes.shape[1] * 4, -1)  # (P, G, LANES, 4) -> (4 G, P * LANES)
    return (codes.view(np.uint8).astype(np.int64) @ weights).astype(np.int32)


seeds, kinds = st.integers(0, 2**32 - 1), st.sampled_from(KINDS)
all_kinds = st.sampled_from([*KINDS, "colossal"])  # whose products are no float32 where both are


@given(seeds, all_kinds, all_kinds, st.integers(1, 7), st.integers(1, 300), st.integers(1, 130))
def test_bounds_hold(seed: int, of_features: str, of_centroids: str, length: int, clusters: int, depth: int) -> None:
    generator = np.random.default_rng(seed)
    features = draw(of_features, generator, length, depth)
    centroids = draw(of_centroids, generator, clusters, depth)
    if seed % 3 == 0:  # features at, and in the middle between, centroids
        features[:] = (centroids[0] + centroids[-1]) / np.float32(2)
    center, panels, terms = new_codes(depth, -(-clusters // LANES))
    fill_codes(centroids, center, panels, terms)
    codes, feature_terms = np.zeros((length, panels.shape[1] - 1), np.int32), np.empty((length, 4), np.float32)
    encode_features(features, 0, length, center, codes.view(np.uint8), feature_terms)

    x, c, m = features.astype(np.float64), centroids.astype(np.float64), center.astype(np.float64)
    scores = (x - m) @ (c - m).T - np.sum((c - m) ** 2, axis=1) / 2
    rounding = 1e-13 * (np.abs(x - m) @ np.abs(c - m).T + np.sum((c - m) ** 2, axis=1))  # of the float64 judge
    products, highest = products_of(codes, panels), np.empty(terms.shape[1], np.float32)
    for i in range(length):
        if np.isnan(feature_terms[i, 3]):
            assert max(np.abs(features[i]).max(), np.abs(center).max()) > 2**48  # only what is huge is left out
            continue
        floor = bound_scores(products, i, terms, feature_terms, highest)
        assert (highest[:clusters] >= scores[i] - rounding[i]).all()
        assert (highest[clusters:] == -np.inf).all()
        assert floor <= np.max(scores[i] + rounding[i])
        # What is known of the feature's own code, step and error.
        near = feature_terms[i, 0] * codes[i].view(np.uint8)[:depth].astype(np.float64) + feature_terms[i, 1]
        assert np.linalg.norm(near - x[i]) <= feature_terms[i, 2]
        assert np.linalg.norm(near - m) <= feature_terms[i, 3]


@given(seeds, kinds, kinds, st.integers(1, 130), st.integers(17, 300), st.integers(64, 300))
def test_the_nearest_is_found(
    seed: int, of_features: str, of_centroids: str, length: int, clusters: int, depth: int
) -> None:
    generator = np.random.default_rng(seed)
    features = draw(of_features, generator, length, depth)
    centroids = draw(of_centroids, generator, clusters, depth)
    x, c = features.astype(np.float64), centroids.astype(np.float64)
    scores = x @ c.T - np.sum(c**2, axis=1) / 2
    chosen = scores[np.arange(length), assign(features, centroids)]
    rounding = depth * 2.0**-23 * np.max(np.abs(x) @ np.abs(c).T + np.sum(c**2, axis=1), axis=1) + depth * 2.0**-140
    assert (chosen >= scores.max(axis=1) - rounding).all()


@pytest.mark.parametrize("length", [1, 7, 121])
@pytest.mark.parametrize("clusters", [17, LANES, LANES + 1, 3 * LANES - 1])
@pytest.mark.parametrize("depth", [242, 256])
def test_matches_the_reference_with_many_ties(length: int, clusters: int, depth: int) -> None:
    # Whole numbers: their float32 scores are exact. Every centroid is there twice.
    generator = np.random.default_rng(length + clusters + depth)
    features = generator.integers(-1, 2, (length, depth)).astype(np.float32)
    centroids = generator.integers(-1, 2, (clusters, depth)).astype(np.float32)
    doubled = np.concatenate([centroids, centroids])
    assert assign(features, doubled).tolist() == reference.nearest(features, centroids)


def test_centroids_that_are_all_alike_leave_all_of_them() -> None:
    centroids = np.tile(np.linspace(-1, 1, 128, dtype=np.float32), (100, 1))
    assert not assign(np.random.default_rng(0).standard_normal((130, 128)), centroids).any()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("row", [0, 5, 120])
def test_features_that_are_not_finite_are_refused(bad: float, row: int) -> None:
    generator = np.random.default_rng(0)
    features, centroids = generator.standard_normal((130, 256)), generator.standard_normal((40, 256)) * 1e3
    features[row, 63] = bad
    with pytest.raises(ValueError, match=r"^features must be "):
        assign(features, centroids)
    with pytest.raises(ValueError, match=r"^features\[1\] must be "):
        encode_vlad(np.stack([np.zeros_like(features), features]), centroids)


@pytest.mark.skipif(not HAS_BYTE_PRODUCTS, reason="the processor does not multiply bytes")
def test_what_is_left_over_does_not_depend_on_its_neighbours() -> None:
    # One value so large that eight bits leave nothing of the others, and in which all centroids are alike: every
    # centroid can be the nearest, and all scores are computed. Only of every seventh feature.
    generator = np.random.default_rng(0)
    centroids = generator.standard_normal((40, 256), dtype=np.float32)
    features = generator.standard_normal((200, 256), dtype=np.float32)
    centroids[:, 0], features[::7, 0] = 0, 1e4
    alone = [int(assign(feature[np.newaxis], centroids)[0]) for feature in features]
    assert assign(features, centroids).tolist() == alone
