"""Plain data comes out as `pickle` would give it; anything else is refused, and nothing is executed."""

from __future__ import annotations

import contextlib
import fractions
import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.storage.plain_pickle import PlainPickleError, read_plain_pickle

atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
plain = st.recursive(
    atoms,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(plain, st.integers(0, 4))
def test_plain_data_survives(value: Any, protocol: int) -> None:
    assert read_plain_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("dtype", ["<i8", ">i4", "u1", "<f8", ">f4", "?"])
def test_arrays_become_lists(protocol: int, dtype: str) -> None:
    array, empty = np.array([1, 0, 3], dtype), np.array([], dtype)
    read = read_plain_pickle(pickle.dumps({"a": array, "again": [array, array], "b": empty, "c": array[0]}, protocol))
    numbers = array.tolist()
    assert read == {"a": numbers, "again": [numbers, numbers], "b": [], "c": numbers[0]}


def test_what_python_2_wrote() -> None:
    """``pickle.dumps({'bbx': numpy.array([1.0])}, 2)`` there: bytes are strings."""
    content = (
        b"\x80\x02}U\x03bbxcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x00\x00\x00\x00\xf0?tbs."
    )
    assert read_plain_pickle(content) == {"bbx": [1.0]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (fractions.Fraction(1, 2), r"more than plain data \(fractions.Fraction\)"),
        (print, r"more than plain data \(builtins.print\)"),
        ({1, 2}, "more than plain data"),
        (np.array([[1], [2]]), r"an array of shape \(2, 1\)"),
        (np.array(["a"]), "an array of 'U1', not of numbers"),
        (np.array([None]), "an array of 'O8', not of numbers"),
        (np.float64, r"more than plain data \(numpy.float64\)"),
        (np.ndarray, "it is damaged, or no pickle"),
    ],
)
def test_anything_else_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(PlainPickleError, match=reason):
        read_plain_pickle(pickle.dumps(value, 4))


def test_depth_and_circles_are_no_matter() -> None:
    deep = read_plain_pickle(b"]" + b"\x85" * 200_000 + b".")
    for _ in range(200_000):
        (deep,) = deep
    assert deep == []
    assert read_plain_pickle(b"(" * 100_000 + b"t" * 100_000 + b".") != ()
    circle = read_plain_pickle(b"]q\x00h\x00a.")
    assert circle[0] is circle


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x04]",
        b"t.",
        b"K\x01a.",
        b"]\x85R.",
        b"}K\x01K\x02b.",
        b"h\x05.",
        b"cnumpy\ndtype\n)R.",
        b"r\xff\xff\xff\xff.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(.",
        b"K\x01\x86.",
        pytest.param(b"}K\x01" + b"\x85" * 200_000 + b"K\x02s.", id="a key nested too deep"),
        pytest.param(b"((lK\x01d.", id="a list as key"),
        pytest.param(b"\x8c\x05a\n\x1b[2\x8c\x01b\x93.", id="a name of two lines"),
        pickle.dumps([1, 2, 3])[:-4],
    ],
)
def test_damage_is_told_as_that(content: bytes) -> None:
    with pytest.raises(PlainPickleError) as caught:
        read_plain_pickle(content)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(PlainPickleError):
        read_plain_pickle(b"\x80\x02" + content + b".")


def test_the_caller_says_what_stands_in_for_names_and_persistent_ids() -> None:
    content = b"\x80\x02cshop\nArticle\nX\x04\x00\x00\x00lampcshop\nLength\nK\x07\x86Q\x86R."
    names = {"shop Article": lambda name, size: {name: size}, "shop Length": "cm"}
    assert read_plain_pickle(content, names, lambda stored: f"{stored[1]} {stored[0].stand_in}") == {"lamp": "7 cm"}
    with pytest.raises(PlainPickleError, match=r"more than plain data \(BINPERSID\)"):
        read_plain_pickle(content, names)
    with pytest.raises(PlainPickleError, match=r"more than plain data \(shop.Article\)"):
        read_plain_pickle(content)
    with pytest.raises(PlainPickleError, match=r"no pickle \(TypeError\)"):
        read_plain_pickle(b"cshop\nLength\n)R.", names)  # which nothing can call


def test_pickles_one_behind_the_other() -> None:
    file = io.BytesIO(pickle.dumps([1]) + pickle.dumps("two") + b"rest")
    assert [read_plain_pickle(file), read_plain_pickle(file), file.read()] == [[1], "two", b"rest"]
