"""Verdicts: "same" is rarely wrong, on draws from known distributions and on photographs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from matching.conftest import Photographs
from matching.scenes import Scene, seen

from tfvlad.errors import ArtifactError
from tfvlad.matching.verdict import CELLS_PRIOR, SIFT_PRIOR, Calibration, Tail, calibrate
from tfvlad.matching.verification import Candidate, CellVerifier, Match, Query

VERDICTS = ["same", "likely", "unsure", "different"]


def test_the_arithmetic_by_hand() -> None:
    tail = Tail(start=10, share=0.5, scale=2)
    assert [tail.beyond(n) for n in (0, 10, 11, 13)] == [1, 1, 0.5, pytest.approx(0.5 / math.e)]
    calibration = Calibration(chance=Tail(10, 0.1, 1.0), resemblance=Tail(0, 0.5, 1.0))
    # One candidate: chance gives 16 or more in 0.1 * e**-5 = 0.00067 of the pairs, resemblance in 0.5 * e**-15.
    assert calibration.probability(16, shortlist=1) == pytest.approx(1 - 0.1 * math.exp(-5))
    assert calibration.verdict(16, shortlist=1) == "same"
    # Fifty: the best of them has as many in nearly fifty times as many searches, 0.033.
    assert calibration.probability(16) == pytest.approx((1 - 0.1 * math.exp(-5)) ** 50)
    assert calibration.verdict(16) == "unsure"
    # What resembles is not the likelier for being one of many.
    resembling = Calibration(chance=Tail(10, 0.1, 0.1), resemblance=Tail(10, 0.5, 4.0))
    assert resembling.probability(30) == pytest.approx(1 - 0.5 * math.exp(-19 / 4))


@pytest.mark.parametrize(
    "calibration", [CELLS_PRIOR, SIFT_PRIOR, Calibration(Tail(0, 1.0, 0.5), Tail(900, 1e-6, 80.0))]
)
@pytest.mark.parametrize("shortlist", [1, 50, 1000])
def test_more_inliers_never_lower_a_verdict(calibration: Calibration, shortlist: int) -> None:
    probabilities = [calibration.probability(n, shortlist) for n in range(1500)]
    assert all(0 <= p <= 1 for p in probabilities)
    assert probabilities == sorted(probabilities)
    assert calibration.verdict(0, shortlist) == "different"
    thresholds = calibration.thresholds(shortlist)
    assert list(thresholds) == VERDICTS
    for verdict in VERDICTS[:-1]:
        assert VERDICTS.index(calibration.verdict(thresholds[verdict], shortlist)) <= VERDICTS.index(verdict)
        assert VERDICTS.index(calibration.verdict(thresholds[verdict] - 1, shortlist)) > VERDICTS.index(verdict)


def draws(kind: str, generator: np.random.Generator, count: int) -> np.ndarray:
    """Inliers of unrelated pairs: (count,), whole numbers."""
    if kind == "geometric":
        return generator.geometric(0.25, count) + 5
    if kind == "poisson":
        return generator.poisson(9, count)
    if kind == "mostly nothing":  # as SIFT has it
        return np.where(generator.uniform(size=count) < 0.95, 0, 4 + generator.geometric(0.6, count))
    assert kind == "lognormal"
    return np.exp(generator.normal(2.3, 0.35, count)).astype(int)


@pytest.mark.parametrize("kind", ["geometric", "poisson", "mostly nothing", "lognormal"])
@pytest.mark.parametrize(("images", "pairs"), [(20, 380), (100, 4000)])
def test_same_is_wrong_in_one_of_a_thousand_at_most(kind: str, images: int, pairs: int) -> None:
    prior = SIFT_PRIOR if kind == "mostly nothing" else CELLS_PRIOR
    false_pairs, false_searches = [], []
    for seed in range(10):
        generator = np.random.default_rng(seed)
        calibration = Calibration.fit(draws(kind, generator, pairs), draws(kind, generator, pairs), images, prior)
        held_out = draws(kind, generator, 50 * 2000).reshape(2000, 50)  # searches that have no answer
        same = calibration.thresholds(50)["same"]
        false_pairs.append(np.mean(held_out >= same))
        false_searches.append(np.mean(held_out.max(axis=1) >= same))
    assert np.mean(false_pairs) <= 0.0001
    assert np.mean(false_searches) <= 0.001
    assert max(false_searches) <= 0.01


def test_resemblance_raises_what_same_needs() -> None:
    generator = np.random.default_rng(0)
    chance = draws("geometric", generator, 4000)
    alike = generator.geometric(0.1, 4000) + 8  # a logo in the same corner
    calibration = Calibration.fit(alike, chance, 100, CELLS_PRIOR)
    held_out = generator.geometric(0.1, 100_000) + 8
    assert np.mean(held_out >= calibration.thresholds()["same"]) <= 0.001
    assert calibration.thresholds()["same"] > Calibration.fit(chance, chance, 100, CELLS_PRIOR).thresholds()["same"]


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_related_images_among_the_calibrating_ones_hardly_matter(share: float) -> None:
    generator = np.random.default_rng(0)
    inliers, chance = draws("geometric", generator, 4000), draws("geometric", generator, 4000)
    clean = Calibration.fit(inliers, chance, 100, CELLS_PRIOR).thresholds()["same"]
    related = generator.uniform(size=4000) < share
    mixed = np.where(related, generator.integers(30, 500, 4000), inliers)
    # What related pictures have in common leaves more along a mirror's axis than chance does.
    mirrored = np.where(related, chance + generator.integers(0, 25, 4000), chance)
    found = Calibration.fit(mixed, mirrored, 100, CELLS_PRIOR).thresholds()["same"]
    assert clean - 2 <= found <= 1.25 * clean


def test_fewer_images_ask_for_more_inliers_and_very_few_for_the_priors() -> None:
    generator = np.random.default_rng(0)
    inliers, chance = draws("geometric", generator, 4000), draws("geometric", generator, 4000)
    needed = [
        Calibration.fit(inliers[:pairs], chance[:pairs], images, CELLS_PRIOR).thresholds()["same"]
        for images, pairs in ((200, 4000), (40, 1000), (20, 380))
    ]
    assert needed == sorted(needed)
    assert Calibration.fit(inliers, chance, 19, CELLS_PRIOR) is CELLS_PRIOR
    assert Calibration.fit([], [], 50, SIFT_PRIOR) is SIFT_PRIOR


@pytest.mark.parametrize("counts", [np.zeros(400), np.full(400, 7), np.arange(400) % 2])
def test_counts_that_hardly_vary(counts: np.ndarray) -> None:
    calibration = Calibration.fit(counts, counts, 50, CELLS_PRIOR)
    thresholds = calibration.thresholds()
    assert counts.max() < thresholds["same"] < 100
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_counts_must_be_of_the_same_pairs() -> None:
    with pytest.raises(ValueError, match="must both be"):
        Calibration.fit([1, 2], [1], 50, CELLS_PRIOR)


def test_a_calibration_survives_json() -> None:
    generator = np.random.default_rng(0)
    calibration = Calibration.fit(draws("poisson", generator, 900), draws("poisson", generator, 900), 30, CELLS_PRIOR)
    assert (calibration.images, calibration.pairs) == (30, 900)
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json(), allow_nan=False))) == calibration


GOOD = CELLS_PRIOR.to_json()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        "x",
        {**GOOD, "chance": None},
        {**GOOD, "chance": {"start": 1, "share": 0.5}},
        {**GOOD, "chance": {"start": 1, "share": 0.5, "scale": 1, "other": 1}},
        {**GOOD, "chance": {"start": 1, "share": 0.5, "scale": 0}},
        {**GOOD, "chance": {"start": 1, "share": 0.5, "scale": "1"}},
        {**GOOD, "chance": {"start": 1, "share": 0.5, "scale": True}},
        {**GOOD, "chance": {"start": -1, "share": 0.5, "scale": 1}},
        {**GOOD, "resemblance": {"start": 1, "share": 0, "scale": 1}},
        {**GOOD, "resemblance": {"start": 1, "share": 1.5, "scale": 1}},
        {**GOOD, "resemblance": {"start": float("nan"), "share": 1, "scale": 1}},
        {**GOOD, "resemblance": {"start": 1, "share": 1, "scale": float("inf")}},
        {**GOOD, "images": -1},
        {**GOOD, "pairs": float("inf")},
        {**GOOD, "pairs": 10**400},
        {**GOOD, "more": 1},
    ],
)
def test_what_is_no_calibration_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(ArtifactError) as caught:
        Calibration.from_json(value, "/photos.index/catalog.sqlite")
    assert str(caught.value) == "/photos.index/catalog.sqlite: damaged: it is no calibration of a verdict"


class Recorder:
    """A verifier that notes what it was asked, and makes inliers up."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool, list[str]]] = []

    def verify(self, query: Query, candidates: Sequence[Candidate], cells: bool = False) -> list[Match]:
        self.asked.append((str(query.source), query.mirrored, [candidate.path for candidate in candidates]))
        return [Match(len(self.asked) % 7 + i % 5) for i, _ in enumerate(candidates)]


def test_which_pairs_are_compared() -> None:
    images = [Candidate(str(i)) for i in range(150)]
    neighbours = [[(i + step) % 150 for step in range(30)] for i in range(150)]  # each finds itself first
    recorder = Recorder()
    calibration = calibrate(recorder, images, neighbours=neighbours)
    assert (calibration.images, calibration.pairs) == (150, 4000)
    plain, mirrored = recorder.asked[::2], recorder.asked[1::2]
    assert [(query, paths) for query, _, paths in plain] == [(query, paths) for query, _, paths in mirrored]
    assert {flag for _, flag, _ in plain} == {False}
    assert {flag for _, flag, _ in mirrored} == {True}
    assert len({query for query, _, _ in plain}) == 100
    for query, _, paths in plain:
        assert query not in paths
        assert len(set(paths)) == len(paths) == 40
        assert paths[:20] == [str((int(query) + step) % 150) for step in range(1, 21)]
    again = Recorder()
    assert calibrate(again, images, neighbours=neighbours) == calibration
    assert again.asked == recorder.asked
    few = Recorder()
    assert calibrate(few, images[:19]) is CELLS_PRIOR
    assert few.asked == []


def test_drawn_scenes_are_told_apart() -> None:
    images = [Candidate(str(k), [Scene(k).picture(seen(), noise=0.3, seed=k)]) for k in range(24)]
    calibration = calibrate(CellVerifier(), images)
    assert calibration.images == 24
    others = [Candidate(str(k), [Scene(k).picture(seen(), noise=0.3, seed=k)]) for k in range(100, 130)]
    for k in (0, 5, 9):
        query = Query("q", [Scene(k).picture(seen(15, 1.2), noise=0.3, seed=50 + k)])
        right, *wrong = (match.inliers for match in CellVerifier().verify(query, [images[k], *others]))
        assert calibration.verdict(right) == "same"
        assert {calibration.verdict(count) for count in wrong} <= {"different", "unsure"}


def test_photographs_of_shelves_are_not_covers(photographs: Photographs) -> None:
    database = [Candidate(str(k), [cover]) for k, cover in enumerate(photographs("smvs_dvd/Reference", 30))]
    verifier = CellVerifier()
    calibration = calibrate(verifier, database)
    for shelf in photographs("distractors", 30):
        found = verifier.verify(Query("", [shelf]), database)
        assert "same" not in {calibration.verdict(match.inliers, 30) for match in found}
    right = [
        verifier.verify(Query("", [photograph]), [cover])[0].inliers
        for photograph, cover in zip(photographs("smvs_dvd/E63", 30), database, strict=True)
    ]
    assert np.mean([calibration.verdict(count, 30) in ("same", "likely") for count in right]) >= 0.25
