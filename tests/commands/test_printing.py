from __future__ import annotations

from tfvlad.commands._printing import table


def test_numbers_are_aligned_to_the_right_and_words_to_the_left() -> None:
    laid_out = table(("name", "n", "seen"), [("one", "1", "-"), ("a hundred", "100", "0.5"), ("", "", "")])
    assert laid_out.split("\n") == [
        "name         n  seen",
        "one          1     -",
        "a hundred  100   0.5",
        "",
    ]


def test_a_column_with_a_word_in_it_is_one_of_words() -> None:
    assert table(("k",), [("1",), ("many",)]).splitlines() == ["k", "1", "many"]


def test_a_head_alone() -> None:
    assert table(("rank", "score"), []) == "rank  score"
