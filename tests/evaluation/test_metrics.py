from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.errors import ConfigError
from tfvlad.evaluation.metrics import (
    RECALL_LEVELS,
    Ids,
    average_precision,
    evaluate,
    holidays_ap,
    interpolated_precision,
    ns_score,
    recall_by_rank,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """One query: a ranking of the ids 0..n-1, its positives (at least one) and its junk."""
    ranking = draw(st.permutations(range(draw(st.integers(1, 15)))))
    roles = draw(st.lists(st.sampled_from("+-j"), min_size=len(ranking), max_size=len(ranking)))
    ok = [id_ for id_, role in enumerate(roles) if role == "+"] or [len(ranking)]
    return list(ranking), ok, [id_ for id_, role in enumerate(roles) if role == "j"]


def test_average_precision_by_hand() -> None:
    # Positives at ranks 2 and 4 of 2. Precision before and at rank 2: 0/1, 1/2; at rank 4: 1/3, 2/4.
    # (0 + 1/2 + 1/3 + 1/2) / (2 * 2) = (4/3) / 4 = 1/3. The rectangle rule would give (1/2 + 2/4) / 2 = 1/2.
    assert average_precision(np.array([2, 4]), 2) == pytest.approx(1 / 3)
    # Rank 1 of three positives, two missed: (1 + 1/1) / (2 * 3) = 1/3.
    assert average_precision(np.array([1]), 3) == pytest.approx(1 / 3)
    assert average_precision(np.array([], dtype=np.intp), 3) == 0


def test_evaluate_by_hand() -> None:
    rankings = [[3, 1, 2, 0], [5, 9, 4, 6], [1, 2, 3, 4], [8, 7]]
    ground_truth = [
        {"ok": [1, 0], "junk": []},
        {"ok": [4, 6, 7], "junk": [5]},
        {"ok": [], "junk": [1]},
        {"ok": [0]},
    ]
    e = evaluate(rankings, ground_truth, kappas=(1, 3))
    # Query 0: ranks 2 and 4, AP 1/3 as above. P@1 = 0/1, P@3 = 1/3.
    # Query 1: without junk 5 the ranking is 9 4 6, positives at 2 and 3, one of the three missed:
    #   AP = (0/1 + 1/2 + 1/2 + 2/3) / (2 * 3) = (5/3) / 6 = 5/18; P@1 = 0, P@3 = 2/3.
    # Query 2 has no positive. Query 3 misses its only one: all 0.
    np.testing.assert_allclose(e.aps, [1 / 3, 5 / 18, math.nan, 0])
    np.testing.assert_array_equal(e.first_ranks, [2, 2, math.nan, math.inf])
    np.testing.assert_allclose(e.precisions_at[3], [1 / 3, 2 / 3, math.nan, 0])
    assert e.queries == 3
    assert e.map == pytest.approx((1 / 3 + 5 / 18) / 3)
    assert e.mrr == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert e.recall_at == {1: 0, 3: pytest.approx(2 / 3)}
    assert e.mean_precision_at == {1: 0, 3: pytest.approx((1 / 3 + 2 / 3 + 0) / 3)}


def test_precision_is_cut_at_the_last_positive() -> None:
    # Both positives by rank 2: P@5 = 2 / min(5, 2) = 1. With one at rank 3: 2 / min(5, 3) = 2/3.
    assert evaluate([[1, 2, 3, 4, 5]], [{"ok": [1, 2]}]).mean_precision_at[5] == 1
    assert evaluate([[1, 3, 2, 4, 5]], [{"ok": [1, 2]}]).mean_precision_at[5] == pytest.approx(2 / 3)
    # With one missed there is no last positive to cut at: 1/5.
    assert evaluate([[1, 3, 6, 4, 5]], [{"ok": [1, 2]}]).mean_precision_at[5] == pytest.approx(1 / 5)


def test_recall_counts_queries_not_positives() -> None:
    # One of two positives is found at rank 1: the query counts as found, though half its positives are not.
    assert evaluate([[1, 3]], [{"ok": [1, 2]}], kappas=(1,)).recall_at == {1: 1.0}


def test_equals_the_official_revisited_code(data_dir: Path) -> None:
    for case in json.loads((data_dir / "oracles" / "revisited_map.json").read_text())["cases"]:
        kappas = case["kappas"]
        e = evaluate(case["ranks"], case["gnd"], kappas)
        assert e.map == pytest.approx(case["map"], rel=0, abs=1e-12)
        np.testing.assert_allclose(e.aps, np.array(case["aps"], float), rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            [e.mean_precision_at[k] for k in kappas], case["mean_precision_at"], rtol=0, atol=1e-12
        )
        np.testing.assert_allclose(
            np.stack([e.precisions_at[k] for k in kappas], axis=1),
            np.array(case["precision_at"], float),
            rtol=0,
            atol=1e-12,
        )


def test_arrays_and_other_ids_give_the_same() -> None:
    rankings = np.array([[2, 0, 1], [1, 2, 0]], dtype=np.uint64)
    truth = [{"ok": np.array([0, 1])}, {"ok": np.array([0]), "junk": np.array([1], np.int32)}]
    names = [["c", "a", "b"], ["b", "c", "a"]]
    named_truth: list[dict[str, Ids]] = [{"ok": {"a", "b"}}, {"ok": ("a",), "junk": ["b"]}]
    np.testing.assert_array_equal(evaluate(rankings, truth).aps, evaluate(names, named_truth).aps)


def test_no_query_with_a_positive_gives_nan() -> None:
    e = evaluate([[1, 2]], [{"ok": []}], kappas=(1,))
    assert e.queries == 0
    assert all(math.isnan(mean) for mean in (e.map, e.mrr, e.recall_at[1], e.mean_precision_at[1], e.aps[0]))


@given(cases())
def test_ranking_the_positives_first_scores_one(case: tuple[list[int], list[int], list[int]]) -> None:
    ranking, ok, junk = case
    perfect = ok + [id_ for id_ in ranking if id_ not in ok]
    e = evaluate([perfect], [{"ok": ok, "junk": junk}])
    means = [e.map, e.mrr, *e.recall_at.values(), *e.mean_precision_at.values()]
    np.testing.assert_allclose(means, 1)


@given(cases())
def test_junk_is_as_if_deleted(case: tuple[list[int], list[int], list[int]]) -> None:
    ranking, ok, junk = case
    e = evaluate([ranking], [{"ok": ok, "junk": junk}])
    deleted = evaluate([[id_ for id_ in ranking if id_ not in junk]], [{"ok": ok}])
    np.testing.assert_array_equal(e.aps, deleted.aps)
    np.testing.assert_array_equal(e.first_ranks, deleted.first_ranks)
    assert e.mean_precision_at == deleted.mean_precision_at


@given(cases(), st.integers(1, 20))
def test_irrelevant_images_at_the_end_change_nothing(case: tuple[list[int], list[int], list[int]], more: int) -> None:
    ranking, ok, junk = case
    truth = [{"ok": ok, "junk": junk}]
    e, longer = evaluate([ranking], truth), evaluate([ranking + list(range(100, 100 + more))], truth)
    assert (longer.map, longer.mrr) == (e.map, e.mrr)
    assert (longer.recall_at, longer.mean_precision_at) == (e.recall_at, e.mean_precision_at)


@given(cases(), st.integers(0, 15))
def test_a_ranking_cut_short_misses_the_rest(case: tuple[list[int], list[int], list[int]], length: int) -> None:
    ranking, ok, junk = case
    kept = [id_ for id_ in ranking if id_ not in junk]
    full = evaluate([kept], [{"ok": ok}], kappas=(1, 3))
    cut = evaluate([kept[:length]], [{"ok": ok}], kappas=(1, 3))
    assert cut.map <= full.map + 1e-12
    for k in (1, 3):
        if length >= k:
            assert cut.recall_at[k] == full.recall_at[k]
            assert cut.mean_precision_at[k] == full.mean_precision_at[k]


@given(cases())
def test_values_are_fractions(case: tuple[list[int], list[int], list[int]]) -> None:
    ranking, ok, junk = case
    e = evaluate([ranking], [{"ok": ok, "junk": junk}])
    for value in (e.map, e.mrr, *e.recall_at.values(), *e.mean_precision_at.values()):
        assert 0 <= value <= 1 + 1e-12


def test_holidays_by_hand() -> None:
    # Query 100 is ranked second and ignored: the ranking is 101 300 102, positives at 1 and 3.
    # (1 + 1/1 + 1/2 + 2/3) / (2 * 2) = (19/6) / 4 = 19/24.
    assert holidays_ap([101, 100, 300, 102], 100, [101, 102]) == pytest.approx(19 / 24)
    # The query among its group's ids, or not ranked at all, makes no difference.
    assert holidays_ap([101, 300, 102], 100, [100, 101, 102]) == pytest.approx(19 / 24)
    assert math.isnan(holidays_ap([101, 100], 100, [100]))


def test_ns_score_by_hand() -> None:
    groups = [[0, 1, 2, 3], [4, 5, 6, 7]]
    # First four of query 0: 0, 1, 3 of its group = 3 (2 comes fifth); of query 4: itself only = 1. (3 + 1) / 2 = 2.
    assert ns_score([[0, 1, 9, 3, 2], [4, 0, 1, 2, 5]], groups) == 2
    assert ns_score(np.array([[0, 1, 2, 3], [7, 6, 5, 4]]), groups) == 4
    # A ranking shorter than four: (2 + 0) / 2.
    assert ns_score([[0, 1], []], groups) == 1


@pytest.mark.parametrize(
    ("rankings", "ground_truth", "kappas", "message"),
    [
        ([[1]], [], (1,), "one entry per ranking, got 0 for 1 rankings"),
        ([[1], [2, 3, 2]], [{"ok": [1]}] * 2, (1,), "ranking 1 must hold an id once, got 2 more than once"),
        ([[1, 1]], [{"ok": []}], (1,), "ranking 0 must hold an id once"),
        ([[1]], [{"ok": [1]}], (1, 0), "kappas must be positive integers, got 0"),
        ([[1]], [{"ok": [1]}], (-5,), "kappas must be positive integers, got -5"),
        ([[1]], [{"ok": [1]}], (2.5,), "kappas must be positive integers, got 2.5"),
        ([[1]], [{"easy": [1]}], (1,), "ground truth 0 must be a mapping"),
        ([[1]], [[1]], (1,), "ground truth 0 must be a mapping"),
        ([[1]], [{"ok": [1, 2], "junk": [2]}], (1,), 'ground truth 0 has id 2 as "ok" and as "junk"'),
    ],
)
def test_bad_input_is_refused_in_one_line(rankings: Any, ground_truth: Any, kappas: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        evaluate(rankings, ground_truth, kappas)
    assert "\n" not in str(caught.value)


def test_ns_score_refuses_bad_input() -> None:
    with pytest.raises(ConfigError, match="groups must have one entry per ranking"):
        ns_score([[1]], [])
    with pytest.raises(ConfigError, match="ranking 0 must hold an id once"):
        ns_score([[1, 1]], [[1]])


def test_interpolated_precision_by_hand() -> None:
    # Right answers at ranks 1, 3 and 4 of four, junk apart; the fourth is never found. Precisions 1, 2/3, 3/4 at
    # recalls 1/4, 2/4, 3/4; from 1/4 to 3/4 the best at that recall or a higher one is 3/4.
    (curve,) = interpolated_precision([[1, 7, 9, 2, 3]], [{"ok": [1, 2, 3, 4], "junk": [7]}])
    np.testing.assert_allclose(curve[:26], 1)
    np.testing.assert_allclose(curve[26:76], 3 / 4)
    np.testing.assert_allclose(curve[76:], 0)


def test_a_query_without_a_right_answer_has_no_curve() -> None:
    curves = interpolated_precision([[1, 2], [1, 2]], [{"ok": []}, {"ok": [9]}])
    assert np.isnan(curves[0]).all()
    assert not curves[1].any()


@given(st.permutations(range(12)), st.sets(st.integers(0, 14), min_size=1))
def test_interpolated_precision_never_rises_and_follows_its_definition(ranking: list[int], right: set[int]) -> None:
    (curve,) = interpolated_precision([ranking], [{"ok": right}])
    assert (np.diff(curve) <= 0).all()
    hits = np.cumsum([id_ in right for id_ in ranking])
    precisions, recalls = hits / np.arange(1, 13), hits / len(right)
    for level, value in zip(np.linspace(0, 1, RECALL_LEVELS), curve, strict=True):
        reached = precisions[(recalls >= level - 1e-9) & (hits > 0)]
        assert abs(value - reached.max(initial=0)) < 1e-12


def test_recall_by_rank_by_hand() -> None:
    # Four queries count: found at 2, at 2, at 5 and never; a half among the first 2, three quarters from 5 to 9.
    ranks, recall = recall_by_rank(np.array([2, np.nan, 5, 2, np.inf]), 9)
    np.testing.assert_array_equal(ranks, [1, 2, 5, 9])
    np.testing.assert_array_equal(recall, [0, 1 / 2, 3 / 4, 3 / 4])
    assert np.isnan(recall_by_rank(np.array([np.nan]), 9)[1]).all()
