"""Verification by SIFT: known homographies come back from files, and nothing agrees with what has no structure."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from PIL import Image

from tfvlad.errors import ConfigError, ImageError
from tfvlad.matching import sift
from tfvlad.matching.sift import SiftVerifier
from tfvlad.matching.verification import Candidate, Match, Query

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'tfvlad[sift]'")

CORNERS = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float).T


def picture(seed: int, width: int = 400, height: int = 300) -> np.ndarray:
    """Blots of many sizes and colours: (height, width, 3) uint8."""
    generator = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.uint8)
    for _ in range(250):
        corner, extent = generator.uniform(0, 1, 2) * [width, height], generator.uniform(4, 40, 2)
        colour = tuple(int(level) for level in generator.integers(0, 256, 3))
        cv2.ellipse(pixels, (corner, extent, generator.uniform(0, 360)), colour, -1)
    return pixels


def warped(pixels: np.ndarray, corners: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose corners were moved to these fractions of its size; and (3, 3), where its fractions are now."""
    height, width, _ = pixels.shape
    before = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])
    fractions = cv2.getPerspectiveTransform(before, np.float32(corners))
    scale = np.diag([width, height, 1.0])
    moved = cv2.warpPerspective(pixels, scale @ fractions @ np.linalg.inv(scale), (width, height), flags=cv2.INTER_AREA)
    return moved, fractions


def save(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(path)
    return os.fspath(path)


def ends(transform: np.ndarray) -> np.ndarray:
    moved = transform @ CORNERS
    return moved[:2] / moved[2]


def same(match: Match, other: Match) -> bool:
    parts = ("inliers", "score", "transform", "cells", "problem")
    return all(np.array_equal(getattr(match, part), getattr(other, part)) for part in parts)


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [(1, 0), (1, 1), (0, 1), (0, 0)],  # a quarter turn, and stretched to the frame
        [(0.2, 0.1), (0.9, 0.2), (0.8, 0.9), (0.1, 0.8)],
        [(0.1, 0.2), (0.9, 0.0), (0.9, 1.0), (0.1, 0.7)],
    ],
)
def test_a_known_homography_comes_back(tmp_path: Path, corners: list[tuple[float, float]]) -> None:
    reference = picture(0)
    photograph, expected = warped(reference, corners)
    candidate = Candidate(save(tmp_path / "reference.png", reference))
    (match,) = SiftVerifier().verify(Query(photograph), [candidate], cells=True)
    assert match.inliers > 50
    assert match.inliers * 0.8 < match.score <= match.inliers * 1.001
    assert np.abs(ends(match.transform @ expected) - CORNERS[:2]).max() < 0.02
    assert match.cells.shape == (match.inliers, 2, 2)
    assert ((match.cells >= 0) & (match.cells <= 1)).all()


def test_other_pictures_and_flat_ones_agree_with_nothing(tmp_path: Path) -> None:
    black = np.zeros((80, 80, 3), np.uint8)
    mirrored = picture(0)[:, ::-1].copy()
    others = {"other": picture(1), "black": black, "dot": black[:1, :1], "mirrored": mirrored}
    candidates = [Candidate(save(tmp_path / f"{name}.png", pixels)) for name, pixels in others.items()]
    for query in (picture(0), black, black[:1, :1]):
        for candidate, match in zip(
            candidates, SiftVerifier().verify(Query(query), candidates, cells=True), strict=True
        ):
            assert match.inliers < 8, candidate.path
            assert match.problem is None
            assert len(match.cells) == match.inliers


def test_a_pattern_that_repeats_does_not_win(tmp_path: Path) -> None:
    tiles = np.tile(picture(3, 40, 30), (10, 10, 1))
    (match,) = SiftVerifier().verify(Query(picture(0)), [Candidate(save(tmp_path / "tiles.png", tiles))])
    assert match.inliers < 8


def test_a_file_that_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    good = save(tmp_path / "good.png", picture(0))
    paths = [os.fspath(tmp_path / "gone.png"), os.fspath(tmp_path / "text.jpg"), os.fspath(tmp_path), good, "a\0b"]
    matches = SiftVerifier().verify(Query(picture(0)), [Candidate(path) for path in paths])
    assert [match.inliers > 50 for match in matches] == [False, False, False, True, False]
    assert matches[3].problem is None
    for match in (*matches[:3], matches[4]):
        assert len(match.problem.splitlines()) == 1
    with pytest.raises(ImageError, match=r"gone\.png"):
        SiftVerifier().verify(Query(paths[0]), [])


def test_a_file_that_changed_is_looked_at_anew(tmp_path: Path) -> None:
    verifier, path = SiftVerifier(), save(tmp_path / "a.png", picture(1))
    assert verifier.verify(Query(picture(0)), [Candidate(path)])[0].inliers < 8
    save(tmp_path / "a.png", picture(0))
    os.utime(path, ns=(1, 1))
    assert verifier.verify(Query(picture(0)), [Candidate(path)])[0].inliers > 50


def test_files_are_looked_at_once_and_few_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sift, "_REMEMBERED", 2)
    looked = []
    verifier = SiftVerifier()
    find = verifier._find
    monkeypatch.setattr(verifier, "_find", lambda source: looked.append(source) or find(source))
    a, b, c = (save(tmp_path / f"{name}.png", picture(0, 60, 40)) for name in "abc")
    for path in (a, b, a, c, a, b):
        verifier.verify(Query(path), [])
    assert looked == [a, b, c, b]  # when c came, b had not been used for longest


def test_matches_are_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    reference = picture(0)
    photograph, _ = warped(reference, [(0.1, 0.2), (0.9, 0.0), (0.9, 1.0), (0.1, 0.7)])
    candidates = [Candidate(save(tmp_path / f"{k}.png", picture(k))) for k in range(4)]
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = SiftVerifier().verify(Query(photograph), candidates, cells=True)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        assert all(map(same, SiftVerifier().verify(Query(photograph), candidates, cells=True), one))
    finally:
        numba.set_num_threads(before)


def test_without_opencv_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"^the SIFT verifier needs OpenCV: pip install 'tfvlad\[sift\]'$"):
        SiftVerifier()


def test_covers_are_told_from_other_covers(data_dir: Path) -> None:
    folder = data_dir / "smvs_dvd"
    candidates = [Candidate(os.fspath(path)) for path in sorted((folder / "Reference").glob("*.jpg"))[:12]]
    verifier = SiftVerifier()
    for right in range(0, 12, 3):
        query = Query(os.fspath(folder / "E63" / os.path.basename(candidates[right].path)))
        inliers = [match.inliers for match in verifier.verify(query, candidates)]
        assert np.argmax(inliers) == right
        assert inliers[right] >= 12
