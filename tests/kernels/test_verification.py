from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvlad_kernels import find_transform, mutual_nearest, verify, verify_pair

HERE = Path(__file__).parent
STEP = 1 / 250  # of int8 features

GRID = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1).reshape(-1, 2).astype(np.float32)
TRANSFORM = np.array([[0.9, -0.4, 4], [0.3, 0.8, -1]])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def quantised(features: np.ndarray, dtype: type) -> np.ndarray:
    return np.rint(features / STEP).astype(np.int8) if dtype is np.int8 else features.astype(dtype)


def draw_candidates(
    seed: int, dtype: type, lengths: tuple[int, ...] = (100, 0, 130, 1, 60, 144, 90)
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws a query with a feature in each cell of a grid, and candidates of which every second one shows it moved.

    Returns: the query's features (144, 32), the candidates' features and positions, the bounds, and which show it.
    """
    generator = np.random.default_rng(seed)
    query = unit(generator.standard_normal((len(GRID), 32)))
    features = [unit(generator.standard_normal((length, 32))) for length in lengths]
    positions = [generator.uniform(0, 12, (length, 2)) for length in lengths]
    for candidate, places in zip(features[::2], positions[::2], strict=True):
        shown = generator.permutation(len(GRID))[: len(candidate) // 2]
        rows = generator.permutation(len(candidate))[: len(shown)]
        candidate[rows] = unit(query[shown] + 0.1 * generator.standard_normal((len(shown), 32)))
        places[rows] = (
            GRID[shown] @ TRANSFORM[:, :2].T + TRANSFORM[:, 2] + generator.uniform(-0.3, 0.3, (len(shown), 2))
        )
    bounds = np.cumsum([0, *lengths])
    shows = np.arange(len(lengths)) % 2 == 0
    return (
        quantised(query, dtype),
        quantised(np.concatenate(features), dtype),
        np.concatenate(positions).astype(np.float32),
        bounds,
        shows,
    )


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float16])
def test_what_is_shown_is_found(dtype: type) -> None:
    query, features, positions, bounds, shows = draw_candidates(0, dtype)
    inliers, scores, transforms = verify(query, GRID, features, positions, bounds, 1.0)
    assert (inliers.dtype, scores.dtype, transforms.dtype) == (np.int32, np.float32, np.float32)
    lengths = np.diff(bounds)
    assert (inliers[shows] > 0.4 * lengths[shows]).all()
    assert (inliers[~shows] < 12).all()
    for transform in transforms[shows]:
        corners = np.array([[0, 0, 1], [12, 0, 1], [0, 12, 1]]).T
        assert np.abs(transform @ corners - TRANSFORM @ corners).max() < 0.5
    cosines = scores[shows] / inliers[shows] * (STEP**2 if dtype is np.int8 else 1)
    assert ((cosines > 0.7) & (cosines < 0.95)).all()  # 1 / sqrt(1 + 32 * 0.1²) = 0.87 of those that are right
    assert (inliers[[1, 3]] == 0).all()
    assert not transforms[[1, 3]].any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.int8, np.float32]), st.booleans())
def test_a_pair_shows_what_was_counted(seed: int, dtype: type, affine: bool) -> None:
    query, features, positions, bounds, _ = draw_candidates(seed, dtype)
    counted = verify(query, GRID, features, positions, bounds, 1.0, iterations=100, affine=affine)
    for b, (start, stop) in enumerate(itertools.pairwise(bounds)):
        matches, found = verify_pair(
            query, GRID, features[start:stop], positions[start:stop], 1.0, iterations=100, affine=affine
        )
        assert found.inliers == found.mask.sum() == counted.inliers[b]
        np.testing.assert_array_equal(found.transform, counted.transforms[b])
        np.testing.assert_allclose(matches.similarities[found.mask].sum(), counted.scores[b], rtol=1e-5)
        # And it is what its two parts find.
        expected = mutual_nearest(query, features[start:stop])
        np.testing.assert_array_equal(matches.pairs, expected.pairs)
        again = find_transform(
            GRID[expected.pairs[:, 0]],
            positions[start:stop][expected.pairs[:, 1]],
            1.0,
            expected.similarities,
            iterations=100,
            affine=affine,
        )
        np.testing.assert_array_equal(found.mask, again.mask)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_the_same_bits_on_any_number_of_threads_and_alone(thread_counts: range, dtype: type) -> None:
    query, features, positions, bounds, _ = draw_candidates(1, dtype, (144, 80, 144, 20, 100) * 5)
    found = []
    for threads in thread_counts:
        numba.set_num_threads(threads)
        found.append(verify(query, GRID, features, positions, bounds, 1.0))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)
    for b in range(len(bounds) - 1):
        alone = verify(query, GRID, features, positions, bounds[b : b + 2], 1.0)
        for one, another in zip(found[0], alone, strict=True):
            np.testing.assert_array_equal(one[b : b + 1], another)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_views_of_the_query(dtype: type) -> None:
    query, features, positions, bounds, _ = draw_candidates(2, dtype)
    # The whole query, nothing, and the left half of it.
    left = GRID[:, 0] < 6
    views, places = np.concatenate([query, query[left]]), np.concatenate([GRID, GRID[left]])
    view_bounds, chosen = [0, 144, 144, 216], np.array([2, 0, 0, 2, 1, 2, 0])
    found = verify(views, places, features, positions, bounds, 1.0, query_bounds=view_bounds, query_views=chosen)
    parts = [
        verify(query, GRID, features, positions, bounds, 1.0),
        None,
        verify(query[left], GRID[left], features, positions, bounds, 1.0),
    ]
    for b, view in enumerate(chosen):
        part = parts[view]
        if part is None:
            assert (found.inliers[b], found.scores[b]) == (0, 0)
        else:
            assert (found.inliers[b], found.scores[b]) == (part.inliers[b], part.scores[b])
            np.testing.assert_array_equal(found.transforms[b], part.transforms[b])


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_no_candidates_and_no_features(dtype: type) -> None:
    query, nothing, nowhere = np.ones((3, 8), dtype), np.empty((0, 8), dtype), np.empty((0, 2))
    assert verify(query, GRID[:3], nothing, nowhere, [0], 1).transforms.shape == (0, 2, 3)
    for features, places in ((query, GRID[:3]), (nothing, nowhere)):
        found = verify(features, places, nothing, nowhere, [0, 0, 0], 1)
        assert (found.inliers.tolist(), found.scores.tolist()) == ([0, 0], [0, 0])


def test_one_colour_and_repeated_patterns_win_nothing() -> None:
    colour = np.tile(np.arange(32, dtype=np.int8), (144, 1))
    kinds = np.eye(4, 32, dtype=np.int8)[(GRID[:, 0] % 2 + 2 * (GRID[:, 1] % 2)).astype(int)]
    for features in (colour, kinds):
        found = verify(features, GRID, features, GRID, [0, 144], 1)
        assert found.inliers[0] <= 4


def test_arrays_that_are_laid_out_otherwise() -> None:
    query, features, positions, bounds, _ = draw_candidates(3, np.int8)
    expected = verify(query, GRID, features, positions, bounds, 1.0)
    found = verify(
        np.asfortranarray(query),
        GRID.astype(np.float64),
        np.repeat(features, 2, axis=0)[::2],
        np.asfortranarray(positions.astype(">f4")),
        bounds.astype(np.uint16),
        1.0,
    )
    np.testing.assert_array_equal(found.inliers, expected.inliers)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bounds": [0, 4]}, "bounds must ascend from 0 or more to at most the number of features, 3"),
        ({"bounds": [2, 1]}, "bounds must ascend"),
        ({"bounds": [-1, 1]}, "bounds must ascend"),
        ({"bounds": []}, "bounds must be integers"),
        ({"bounds": [0.0, 1.0]}, "bounds must be integers"),
        ({"query_bounds": [0, 9]}, "query_bounds must ascend"),
        ({"query_views": [1]}, "query_views must name views from 0 to 0, got 1 to 1"),
        ({"query_views": [0, 0]}, "query_views must be one integer for each of 1 candidates"),
        ({"query_views": [0.5]}, "query_views must be one integer for each of 1 candidates"),
        ({"query_positions": np.ones((4, 2))}, r"query_positions must have shape \(3, 2\), got shape \(4, 2\)"),
        ({"candidate_positions": np.ones((3, 3))}, r"candidate_positions must have shape \(3, 2\)"),
        ({"threshold": -1}, "threshold must be above 0"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"query_features": np.full((3, 4), np.nan)}, "features must be finite"),
        ({"query_features": np.ones((3, 5))}, "D=5 columns"),
    ],
)
def test_what_is_refused(changed: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "query_features": np.ones((3, 4)),
        "query_positions": np.ones((3, 2)),
        "candidate_features": np.ones((3, 4)),
        "candidate_positions": np.ones((3, 2)),
        "bounds": [0, 3],
        "threshold": 1,
    }
    with pytest.raises(ValueError, match=message):
        verify(**{**arguments, **changed})  # type: ignore[arg-type]


def test_scores_that_overflow_are_refused() -> None:
    query = draw_candidates(0, np.float32)[0] * 1e19  # products of 1e38 sum up to more than 3.4e38
    with pytest.raises(ValueError, match="must be small enough for float32"):
        verify(query, GRID, query, GRID, [0, len(GRID)], 1)


FOUND = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
from test_verification import GRID, draw_candidates
from tfvlad_kernels import verify
query, features, positions, bounds, _ = draw_candidates(0, np.{dtype}, (40, 30))
print([array.tobytes().hex() for array in verify(query, GRID, features, positions, bounds, 1.0, iterations=60)])
"""


def run(*arguments: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_plain_python_gives_the_same_bits() -> None:
    script = FOUND.format(folder=str(HERE), dtype="int8")
    assert run("-c", script, NUMBA_DISABLE_JIT="1") == run("-c", script)


def test_the_kernels_are_right_as_plain_python() -> None:
    tests = [str(HERE / f"test_{name}.py") for name in ("matching", "geometry", "verification")]
    core = "by_hand or (degenerate and cell) or copies or views or (reference and 7-5-7)"
    output = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", core, *tests, NUMBA_DISABLE_JIT="1")
    assert " passed" in output


def test_processors_without_products_of_bytes_give_the_same_bits(tmp_path: Path) -> None:
    environment = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    script = FOUND.format(folder=str(HERE), dtype="int8")
    assert run("-c", script, **environment) == run("-c", script)
