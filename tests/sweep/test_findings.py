"""Which setting to take, and what a study says of the paper's claims, on values that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.made_up_studies import NAN, cell, grid, impossible, study

from tfvlad.sweep import choice
from tfvlad.sweep.findings import Finding, findings
from tfvlad.sweep.grid import Setting
from tfvlad.sweep.statistics import Difference
from tfvlad.sweep.study import Study

QUERIES = np.linspace(-0.02, 0.02, 21)  # what a query adds to its setting's value; 0 on average
SHORT = Setting(224, "a", "vlad", 100, 32)
LONG = Setting(224, "a", "vlad", 100, 0)
POOLED = Setting(224, "a", "mean", 0, 0)


def like_the_paper(setting: Setting) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The third of four layers is best; larger images help the upper two and harm the lower two; VLAD beats pooling."""
    level = {"a": 0.3, "b": 0.4, "c": 0.6, "d": 0.5, "": 0.1}[setting.layer]
    scale = (0.1 if setting.layer in ("c", "d") else -0.1) * (setting.image_size == 448)
    return QUERIES + level + scale - 0.2 * (setting.encoding == "mean") - 0.01 * (setting.dim > 0)


def by_claim(of: Study) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings(of):
        found.setdefault(finding.claim, []).append(finding)
    return found


def test_what_the_paper_found_is_found() -> None:
    found = by_claim(grid(like_the_paper, encodings=("vlad", "mean", "fc")))
    # c beats d by 0.1 at either size; c and d gain 0.1, a and b lose 0.1; pooling is 0.2 behind; 128-D loses 0.01.
    # The fully connected features have 0.1 and 0.0, c has 0.6 and 0.7.
    expected = {
        "Intermediate layers beat the last one": [0.1, 0.1],
        "Finer scales lift the higher layers": [0.1, 0.2],
        "VLAD beats pooling": [0.2, 0.5, 0.7],
        "Short descriptors keep most of the quality": [-0.01],
    }
    assert {claim: [f.difference.mean for f in of] for claim, of in found.items()} == {
        claim: pytest.approx(means) for claim, means in expected.items()
    }
    assert {f.verdict for of in found.values() for f in of} == {"holds"}
    assert "c to d at 448 px against 224 px" in found["Finer scales lift the higher layers"][0].comparison


def test_the_reverse_does_not_hold() -> None:
    found = by_claim(grid(lambda setting: 0.9 - like_the_paper(setting) - 0.1 * (setting.layer in "ab")))
    assert found["Finer scales lift the higher layers"][0].verdict == "does not hold"
    assert found["VLAD beats pooling"][0].verdict == "does not hold"


def test_noise_is_not_a_finding() -> None:
    generator = np.random.default_rng(0)
    verdicts = [finding.verdict for finding in findings(grid(lambda _: generator.uniform(size=50)))]
    assert verdicts[:-1] == ["cannot be told apart from noise"] * (len(verdicts) - 1)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.1, 0.2, 0.0, "holds"),
        (-0.2, -0.1, 0.0, "does not hold"),
        (-0.1, 0.1, 0.0, "cannot be told apart from noise"),
        (0.0, 0.0, 0.0, "cannot be told apart from noise"),
        (NAN, NAN, 0.0, "cannot be told apart from noise"),
        (-0.04, 0.0, 0.05, "holds"),
        (-0.2, -0.06, 0.05, "does not hold"),
    ],
)
def test_verdicts(low: float, high: float, margin: float, verdict: str) -> None:
    assert Finding("", "", Difference(0.0, low, high), margin).verdict == verdict


def test_claims_without_settings_are_passed_over() -> None:
    assert findings(study([cell(LONG, [0.1, 0.2])], 2)) == []
    assert findings(study([impossible(LONG)], 2)) == []
    assert findings(study([cell(Setting(224, "", "fc", 0, 0), [0.1, 0.2])], 2)) == []
    assert findings(study([cell(LONG, [NAN, NAN]), cell(SHORT, [NAN, NAN])], 2)) == []
    assert list(by_claim(grid(like_the_paper, layers=["c"], sizes=[224]))) == [
        "VLAD beats pooling",
        "Short descriptors keep most of the quality",
    ]


def test_a_setting_is_described_in_words() -> None:
    assert choice.described(Setting(448, "fire8", "vlad", 100, 128)) == "VLAD, fire8, 448 px, K = 100, 128-D"
    assert choice.described(Setting(224, "", "fc", 0, 0)) == "fully connected features, 224 px, full"


def test_the_best_comes_first_and_the_shortest_as_good_is_found() -> None:
    long, short = cell(LONG, [0.9, 0.4, 0.6]), cell(SHORT, [0.8, 0.5, 0.55])
    worse = cell(Setting(224, "a", "vlad", 100, 16), [0.1, 0.1, 0.1])
    made = study([worse, short, long, impossible(POOLED)], 3)
    assert choice.ranked(made) == [long, short, worse]
    assert choice.shortest_as_good(made) is short
    assert choice.shortest_as_good(study([worse, long], 3)) is long
    assert choice.shortest_as_good(study([impossible(POOLED)], 3)) is None


def test_of_equals_the_shorter_is_better() -> None:
    long, short = cell(LONG, [0.5, 0.7]), cell(SHORT, [0.7, 0.5])
    assert choice.ranked(study([long, short], 2)) == [short, long]


def test_the_front_is_what_nothing_beats() -> None:
    costs = {16: 1.0, 32: 2.0, 64: 2.0, 128: 3.0, 0: NAN}
    values = {16: 0.2, 32: 0.1, 64: 0.5, 128: 0.5, 0: 0.9}
    cells = [cell(Setting(224, "a", "vlad", 100, dim), [value] * 2) for dim, value in values.items()]
    front = choice.front(study(cells, 2), lambda made: costs[made.setting.dim])
    assert [made.setting.dim for made in front] == [16, 64]


def test_the_rival_is_the_last_layer_at_the_same_setting() -> None:
    made = grid(like_the_paper)
    best = choice.ranked(made)[0]
    rival = choice.rival(made, best)
    assert best.setting == Setting(448, "c", "vlad", 100, 0)
    assert rival is not None
    assert rival.setting == Setting(448, "d", "vlad", 100, 0)
    assert choice.rival(study([best], 21), best) is None


def test_queries_are_those_that_either_side_finds_alone() -> None:
    best, other = cell(LONG, [1, 1, 0.5, 0, 1, 0.5]), cell(SHORT, [0, 0.5, 1, 1, 1, 0.5])
    # The reciprocal ranks differ by 1, 0.5, -0.5, -1, 0 and 0.
    assert choice.disagreements(study([best, other], 6), best, other, 8) == [0, 1, 3, 2]
    assert choice.disagreements(study([best, other], 6), best, other, 2) == [0, 3]
