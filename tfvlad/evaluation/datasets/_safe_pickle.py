"""Reads plain data out of a pickle without unpickling it: the revisited Oxford/Paris benchmark is published as one.

Unpickling calls whatever the file names. Here the file's opcodes are read as data (`pickletools.genops`), and the
objects that they may build are fixed: None, booleans, numbers, strings, bytes, lists, tuples, dicts, and
one-dimensional NumPy arrays and scalars of numbers, which become lists and numbers. Nothing that the file names is
imported or called; functions of this module stand in for the few names that it may hold.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfvlad.printable import printable

_NUMBERS = re.compile(r"[iuf][1248]|b1")
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PlainPickleError(ValueError):
    """The file is no pickle, or holds more than plain data."""


class _Named(NamedTuple):
    """A name in the file, with the function that stands in for what the file would call."""

    stand_in: Callable[..., Any]


class _Dtype:
    """A type of numbers; its byte order comes later in the file."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = _text(code)
        self.order = "<"


def read_plain_pickle(data: bytes) -> Any:
    """Reads what Python 2 or 3 wrote with `pickle.dump`, protocols 0 to 4.

    Args:
      data: the file's bytes.

    Returns:
      The object, built of the types that the module's docstring lists.

    Raises:
      PlainPickleError: the file is damaged or no pickle, or holds more than plain data; the message says what.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        value = machine.stack.pop()
        _require_plain(value)
    except PlainPickleError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError, UnicodeError) as error:
        raise PlainPickleError(f"it is damaged, or no pickle ({type(error).__name__})") from None
    return value


class _Machine:
    """The stack and the memo of the pickle format; see `pickletools` for what each opcode does with them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []  # sizes that the stack had
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[int(argument)])
        elif name in _TUPLES:
            items = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(items)))
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self._to_mark()
            stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._to_mark()
            _of_type(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._to_mark()
            _of_type(dict, stack[-1]).update(_pairs(items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_look_up(argument if name == "GLOBAL" else f"{stack.pop(-2)} {stack.pop()}"))
        elif name == "REDUCE":
            arguments = _of_type(tuple, stack.pop())
            stack.append(_of_type(_Named, stack.pop()).stand_in(*arguments))
        elif name == "BUILD":
            state = _of_type(tuple, stack.pop())
            _build(stack[-1], state)
        else:
            raise PlainPickleError(f"it holds more than plain data ({name})")

    def _to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items


def _require_plain(value: Any) -> None:
    """Refuses a value that still holds a name or a type of numbers once the pickle is complete."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Named | _Dtype):
            raise TypeError("a name")
        if isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting += item
            waiting += item.values() if isinstance(item, dict) else ()


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if any(isinstance(key, tuple) for key in items[::2]):  # the hash of a deeply nested tuple would overflow C's stack
        raise PlainPickleError("it holds a dict with a tuple as key")
    return dict(zip(items[::2], items[1::2], strict=True))


def _array(*_: Any) -> list[Any]:
    """Stands in for a one-dimensional array; its numbers come later in the file."""
    return []


def _scalar(dtype: _Dtype, data: str | bytes) -> Any:
    return _numbers(dtype, data)[0]


def _encoded(text: str = "", encoding: str = "latin1") -> bytes:
    """Stands in for bytes, which Python 3 writes as Latin-1 text in protocols 0 to 2."""
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode(encoding)


_KNOWN: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": _array,
    "numpy._core.multiarray _reconstruct": _array,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "numpy dtype": _Dtype,
    "numpy ndarray": _array,  # the file names it as the type that `_reconstruct` is to make
    "_codecs encode": _encoded,
    "__builtin__ bytes": _encoded,
}


def _look_up(name: str) -> _Named:
    """Returns what stands in for ``MODULE NAME``.

    Raises:
      PlainPickleError: nothing does.
    """
    if name not in _KNOWN:
        raise PlainPickleError(f"it holds more than plain data ({printable(name.replace(' ', '.', 1)):.60})")
    return _Named(_KNOWN[name])


def _build(built: Any, state: tuple[Any, ...]) -> None:
    """Fills in an array, or the byte order of a type, from what the object's own ``__setstate__`` would be given.

    Raises:
      PlainPickleError: it is an array of other things than numbers, or not one-dimensional.
      Exception: it is neither; any of the exceptions that `read_plain_pickle` catches.
    """
    if isinstance(built, _Dtype):
        built.order = _text(state[1])
        return
    _, shape, dtype, _, data = state
    values = _numbers(dtype, data)
    if shape != (len(values),):
        raise PlainPickleError(f"it holds an array of shape {shape!r:.40}, not a list of numbers")
    _of_type(list, built)[:] = values


def _numbers(dtype: _Dtype, data: str | bytes) -> list[Any]:
    code, order = _of_type(_Dtype, dtype).code, dtype.order
    if not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise PlainPickleError(f"it holds an array of {code!r:.20}, not of numbers")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    numbers: list[Any] = np.frombuffer(raw, np.dtype(f"{order}{code}")).tolist()
    return numbers


def _of_type(kind: type, value: Any) -> Any:
    """Returns the value if it is of this very type.

    Raises:
      TypeError: it is of another type.
    """
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)
