"""The names that a pickle of plain data may hold, those of NumPy's arrays, and what stands for each of them here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = re.compile(r"[iuf][1248]|b1")


class PlainPickleError(ValueError):
    """The file is no pickle, or holds more than plain data."""


class Named(NamedTuple):
    """What the file refers to by a name, and calls with arguments of its own."""

    stand_in: Callable[..., Any]


class Dtype:
    """A type of numbers, whose byte order follows."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = _text(code)
        self.order = "<"


def _array(*_: Any) -> list[Any]:
    """A one-dimensional array, whose numbers follow."""
    return []


def _scalar(dtype: Dtype, data: str | bytes) -> Any:
    return _numbers(dtype, data)[0]


def _encoded(text: str = "", encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes in protocols 0 to 2."""
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode(encoding)


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": _array,
    "numpy._core.multiarray _reconstruct": _array,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "numpy dtype": Dtype,
    "numpy ndarray": _array,  # named as what `_reconstruct` is to make
    "_codecs encode": _encoded,
    "__builtin__ bytes": _encoded,
}


def named(name: str) -> Named:
    """What stands for ``MODULE NAME``.

    Raises:
      PlainPickleError: nothing does.
    """
    if name not in _KNOWN:
        raise PlainPickleError(f"it holds more than plain data ({name.replace(' ', '.', 1)})")
    return Named(_KNOWN[name])


def build(built: Any, state: tuple[Any, ...]) -> None:
    """Fills in an array, or the byte order of a type: what the object's own ``__setstate__`` would be given.

    Raises:
      PlainPickleError: it is another array than a list of numbers.
      Exception: TypeError, ValueError and others: it is neither.
    """
    if isinstance(built, Dtype):
        built.order = _text(state[1])
        return
    _, shape, dtype, _, data = state
    values = _numbers(dtype, data)
    if shape != (len(values),):
        raise PlainPickleError(f"it holds an array of shape {shape!r:.40}, not a list of numbers")
    of_type(list, built)[:] = values


def _numbers(dtype: Dtype, data: str | bytes) -> list[Any]:
    code, order = of_type(Dtype, dtype).code, dtype.order
    if not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise PlainPickleError(f"it holds an array of {code!r:.20}, not of numbers")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    numbers: list[Any] = np.frombuffer(raw, np.dtype(f"{order}{code}")).tolist()
    return numbers


def of_type(kind: type, value: Any) -> Any:
    """The value, where it is of this very type.

    Raises:
      TypeError: it is not.
    """
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)
