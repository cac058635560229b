"""Verification by cells: known transforms come back, what does not belong together stays low, degenerate input at 0."""

from __future__ import annotations

import dataclasses

import numba
import numpy as np
import pytest
from matching.conftest import Photographs
from matching.scenes import DIMENSIONS, Scene, seen

from tfvlad.errors import MismatchError
from tfvlad.matching import verification
from tfvlad.matching.local_features import LocalFeatures
from tfvlad.matching.verification import Candidate, CellVerifier, Match, Query

VERIFIER = CellVerifier()
CORNERS = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float).T


def compare(query: LocalFeatures, *found: LocalFeatures, cells: bool = False) -> list[Match]:
    return VERIFIER.verify(
        Query("q.jpg", [query]), [Candidate(f"{i}.jpg", [view]) for i, view in enumerate(found)], cells
    )


def same(match: Match, other: Match) -> bool:
    pairs = zip(dataclasses.astuple(match), dataclasses.astuple(other), strict=True)
    return all(np.array_equal(one, two) for one, two in pairs)


@pytest.mark.parametrize(
    ("degrees", "zoom", "middle"),
    [
        (0, 1, (0, 0)),
        (12, 1.2, (0.1, -0.1)),
        (90, 1, (0, 0)),
        (180, 0.8, (0.1, 0)),
        (-45, 1.5, (-0.1, 0.1)),
        (30, 2.0, (0, 0)),
    ],
)
def test_a_known_transform_comes_back(degrees: float, zoom: float, middle: tuple[float, float]) -> None:
    scene, first, second = Scene(0, detail=6), seen(degrees, zoom, middle), seen()
    query = scene.picture(first, noise=0.1, seed=1)
    found = scene.picture(second, noise=0.1, seed=2)
    (match,) = compare(query, found, cells=True)
    expected = np.linalg.inv(second) @ first  # a picture's fractions -> the scene -> the other's fractions
    assert match.inliers > 60
    assert match.inliers * 0.5 < match.score < match.inliers
    assert np.abs((match.transform - expected) @ CORNERS).max() < 0.03  # of a side; a cell is 0.036 and 0.05
    assert match.cells.shape == (match.inliers, 2, 2)
    start, end = match.cells[:, 0], match.cells[:, 1]
    moved = start @ match.transform[:2, :2].T + match.transform[:2, 2]
    assert np.abs((moved - end) * [28, 20]).max() < 3


def test_pictures_of_another_shape_and_other_cells() -> None:
    scene, first, second = Scene(3, detail=6), seen(10, 1.3, aspect=0.5), seen(0, 1, aspect=2.0)
    query = scene.picture(first, grid=(24, 24), size=(300, 600))  # cells of 12.5 x 25 pixels
    found = scene.picture(second, grid=(14, 28), size=(1000, 500))
    (match,) = compare(query, found)
    assert match.inliers > 60
    assert np.abs((match.transform - np.linalg.inv(second) @ first) @ CORNERS).max() < 0.03


def test_shear_and_stretch_need_an_affine_transform() -> None:
    scene, first = Scene(5, detail=6), seen()
    second = first.copy()
    second[:2, :2] = second[:2, :2] @ [[1.5, 0.3], [0.0, 0.8]]
    query, candidate = Query("q", [scene.picture(first)]), Candidate("f", [scene.picture(second)])
    (affine,), (similar,) = (CellVerifier(affine=affine).verify(query, [candidate]) for affine in (True, False))
    assert affine.inliers > 2 * similar.inliers
    linear = similar.transform[:2, :2] * [[1, 640 / 480], [480 / 640, 1]]  # in pixels, up to a factor
    assert linear[0, 0] == pytest.approx(linear[1, 1], abs=1e-6)
    assert linear[0, 1] == pytest.approx(-linear[1, 0], abs=1e-6)


def test_what_shows_the_same_is_far_above_what_does_not() -> None:
    scene = Scene(0)
    query = scene.picture(seen(20, 1.3), noise=0.3)
    others = [Scene(seed).picture(seen(), noise=0.3, seed=seed) for seed in range(1, 40)]
    right, *wrong = (match.inliers for match in compare(query, scene.picture(seen(), noise=0.3, seed=9), *others))
    assert right > 60
    assert max(wrong) < 15


def test_the_views_that_agree_most_are_told() -> None:
    scene, other = Scene(0), Scene(1)
    query = Query("q", [other.picture(seen()), scene.picture(seen(90)), scene.picture(seen(0))])
    views = [Scene(2).picture(seen()), scene.picture(seen(92, 1.1))]
    every = Candidate("c", views, query_views=(0, 1, 2))
    (match,) = VERIFIER.verify(query, [every])
    assert (match.query_view, match.found_view) == (1, 1) or match.query_view == 2
    assert match.found_view == 1
    (first,) = VERIFIER.verify(query, [Candidate("c", views, query_views=(0,))], cells=True)
    assert first.inliers < match.inliers / 4
    (cells,) = VERIFIER.verify(query, [every], cells=True)
    assert same(dataclasses.replace(cells, cells=None), match)
    assert len(cells.cells) == match.inliers


def line(cells: int, across: bool) -> LocalFeatures:
    grid = (1, cells) if across else (cells, 1)
    return Scene(0).picture(seen(), grid=grid)


def flat(rows: int = 20, columns: int = 28, value: int = 20) -> LocalFeatures:
    like = Scene(0).picture(seen(), grid=(rows, columns))
    return dataclasses.replace(like, descriptors=np.full((rows * columns, DIMENSIONS), value, np.int8))


def repeated(rows: int = 20, columns: int = 28) -> LocalFeatures:
    """A pattern that comes again every second cell in both directions."""
    tiles = np.random.default_rng(0).integers(-60, 60, (2, 2, DIMENSIONS)).astype(np.int8)
    descriptors = np.tile(tiles, (rows // 2, columns // 2, 1)).reshape(rows * columns, DIMENSIONS)
    return dataclasses.replace(Scene(0).picture(seen(), grid=(rows, columns)), descriptors=descriptors)


def empty() -> LocalFeatures:
    return LocalFeatures(np.zeros((0, 2)), np.zeros((0, DIMENSIONS), np.int8), (0.1, 0.1), (10, 10))


@pytest.mark.parametrize(
    "degenerate",
    [
        flat(),
        flat(value=0),
        flat(1, 1),
        flat(value=-128),
        repeated(),
        line(40, True),
        line(40, False),
        line(1, True),
        empty(),
    ],
    ids=["one colour", "zeros", "1 x 1", "lowest", "pattern", "row", "column", "a cell", "nothing"],
)
def test_degenerate_pictures_agree_with_nothing(degenerate: LocalFeatures) -> None:
    picture = Scene(0).picture(seen())
    for match in (*compare(degenerate, picture, degenerate, cells=True), *compare(picture, degenerate, cells=True)):
        assert (match.inliers, match.score, match.transform, len(match.cells)) == (0, 0.0, None, 0)


def test_a_candidate_without_views_agrees_with_nothing() -> None:
    query = Query("q", [Scene(0).picture(seen())])
    assert VERIFIER.verify(query, []) == []
    for candidate in (Candidate("c", []), Candidate("c", [empty()]), Candidate("c", query.views, query_views=())):
        assert VERIFIER.verify(query, [candidate])[0].inliers == 0


def test_features_of_another_length_are_refused_in_one_line() -> None:
    picture = Scene(0).picture(seen())
    other = dataclasses.replace(picture, descriptors=picture.descriptors[:, :8])
    with pytest.raises(MismatchError, match=r"^c\.jpg: its local features have 8 dimensions, the query's have 32$"):
        VERIFIER.verify(Query("q", [picture]), [Candidate("c.jpg", [other])])


def test_matches_depend_neither_on_threads_nor_on_company(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(0)
    query = Query("q", [scene.picture(seen(10, noise_seed), noise=0.4, seed=noise_seed) for noise_seed in (1, 2)])
    candidates = [
        Candidate("c", [scene.picture(seen(5 * k), noise=0.4, seed=k), Scene(k).picture(seen())], query_views=(0, 1))
        for k in range(6)
    ]
    together = VERIFIER.verify(query, candidates, cells=True)
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, numba.config.NUMBA_NUM_THREADS)}:
            numba.set_num_threads(threads)
            assert all(map(same, VERIFIER.verify(query, candidates, cells=True), together))
    finally:
        numba.set_num_threads(before)
    alone = [VERIFIER.verify(query, [candidate], cells=True)[0] for candidate in candidates]
    assert all(map(same, alone, together))
    monkeypatch.setattr(verification, "_LARGEST_CHUNK", 1)  # one pair of views at a time
    assert all(map(same, VERIFIER.verify(query, candidates, cells=True), together))


def test_a_mirror_image_agrees_by_chance_only() -> None:
    scene = Scene(0)
    query, candidate = scene.picture(seen(10), noise=0.2), Candidate("c", [scene.picture(seen(), noise=0.2, seed=1)])
    (plain,), (mirrored,) = (VERIFIER.verify(Query("q", [query], flag), [candidate], True) for flag in (False, True))
    assert plain.inliers > 200
    assert mirrored.inliers < plain.inliers / 5  # what lies along one line, which is the same in a mirror
    other = Candidate("o", [Scene(1).picture(seen(), noise=0.2)])
    assert VERIFIER.verify(Query("q", [query], True), [other])[0].inliers < 15
    asymmetric = dataclasses.replace(query, positions=np.stack([1 - query.positions[:, 0], query.positions[:, 1]], 1))
    assert same(mirrored, VERIFIER.verify(Query("q", [asymmetric]), [candidate], True)[0])


def test_photographed_covers_agree_most_with_their_own(photographs: Photographs) -> None:
    covers = [Candidate(str(k), [cover]) for k, cover in enumerate(photographs("smvs_dvd/Reference", 30))]
    first, inliers = [], []
    for number, photograph in enumerate(photographs("smvs_dvd/E63", 30)):
        found = [match.inliers for match in VERIFIER.verify(Query("", [photograph]), covers)]
        first.append(int(np.argmax(found)) == number)
        inliers.append(found)
    right = np.diag(inliers)
    wrong = np.array(inliers)[~np.eye(30, dtype=bool)]
    assert np.mean(first) >= 0.6
    assert np.median(right) >= 2 * np.median(wrong)
    assert wrong.max() < 40
