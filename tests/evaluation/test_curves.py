from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.evaluation.metrics import RECALL_LEVELS, interpolated_precision, recall_by_rank


def test_by_hand() -> None:
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
def test_it_never_rises_and_is_what_the_definition_says(ranking: list[int], right: set[int]) -> None:
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
