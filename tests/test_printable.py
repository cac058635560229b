from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photos/caf\xe9 \u5bff\u53f8.jpg", "photos/caf\xe9 \u5bff\u53f8.jpg"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj.\u202etxt", r"gpj.\u202etxt"),
        ("\u2028\u2066\u200f", r"\u2028\u2066\u200f"),
        ("caf\udce9", r"caf\udce9"),
        ("narrow\u202fspace\u3000", "narrow\u202fspace\u3000"),
        (12, "12"),
    ],
)
def test_what_is_shown(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert printable(shown) == shown
