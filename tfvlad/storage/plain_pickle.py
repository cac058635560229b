"""Reads plain data out of a pickle without unpickling it: ground truth and weights of networks are published as such.

Unpickling calls whatever the file names. Here the file's opcodes are read as data (`pickletools.genops`), and the
objects that they may build are fixed: None, booleans, numbers, strings, bytes, lists, tuples and dicts. Nothing that
the file names is imported or called: the caller's functions stand in for the few names that it may hold. Those for
one-dimensional NumPy arrays and scalars of numbers, which become lists and numbers, are here.
"""

from __future__ import annotations

import dataclasses
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import IO, Any

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
_SIGNS_OF_DAMAGE = (
    ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RecursionError, UnicodeError,
)  # fmt: skip


class PlainPickleError(ValueError):
    """The file is no pickle, or holds more than plain data."""


@dataclasses.dataclass(frozen=True)
class Named:
    """A name in the file.

    Attributes:
      stand_in: what stands in for it: a function, if the file is to call it. What the function returns may have a
        method ``set_state``, which takes what the object's own ``__setstate__`` would be given.
    """

    stand_in: Any


def read_plain_pickle(
    source: bytes | IO[bytes],
    names: Mapping[str, Any] | None = None,
    load: Callable[[Any], Any] | None = None,
) -> Any:
    """Reads what Python 2 or 3 wrote with `pickle.dump`, protocols 0 to 4.

    Args:
      source: the pickle's bytes, or an open file from which they are read, up to their end.
      names: ``MODULE NAME`` -> what stands in for it, see `Named`; None is `NUMPY_NAMES`.
      load: returns an object that the pickle holds only by a persistent id, given that id, in which names are `Named`;
        None where there must not be any.

    Returns:
      The object, built of the types that the module's docstring lists and of what the stand-ins return.

    Raises:
      PlainPickleError: the file is damaged or no pickle, or holds more than plain data; the message says what.
    """
    machine = _Machine(NUMPY_NAMES if names is None else names, load)
    try:
        for opcode, argument, _ in pickletools.genops(source):
            machine.step(opcode.name, argument)
        value = machine.stack.pop()
        _require_plain(value)
    except PlainPickleError:
        raise
    except _SIGNS_OF_DAMAGE as error:
        raise PlainPickleError(f"it is damaged, or no pickle ({type(error).__name__})") from None
    return value


class _Machine:
    """The stack and the memo of the pickle format; see `pickletools` for what each opcode does with them."""

    def __init__(self, names: Mapping[str, Any], load: Callable[[Any], Any] | None) -> None:
        self.stack: list[Any] = []
        self._names = names
        self._load = load
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
            stack.append(self._look_up(argument if name == "GLOBAL" else f"{stack.pop(-2)} {stack.pop()}"))
        elif name == "REDUCE":
            arguments = _of_type(tuple, stack.pop())
            stack.append(_of_type(Named, stack.pop()).stand_in(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].set_state(state)
        elif name == "BINPERSID" and self._load:
            stack.append(self._load(stack.pop()))
        else:
            raise PlainPickleError(f"it holds more than plain data ({name})")

    def _to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _look_up(self, name: str) -> Named:
        if name not in self._names:
            raise PlainPickleError(f"it holds more than plain data ({printable(name.replace(' ', '.', 1)):.60})")
        return Named(self._names[name])


def _require_plain(value: Any) -> None:
    """Refuses a value that still holds a name or a type of numbers once the pickle is complete."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Named | _Dtype):
            raise TypeError("a name")
        if isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting += item
            waiting += item.values() if isinstance(item, dict) else ()


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if any(isinstance(key, tuple) for key in items[::2]):  # the hash of a deeply nested tuple would overflow C's stack
        raise PlainPickleError("it holds a dict with a tuple as key")
    return dict(zip(items[::2], items[1::2], strict=True))


def _of_type(kind: type, value: Any) -> Any:
    """Returns the value if it is of this type.

    Raises:
      TypeError: it is of another type.
    """
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value


class _Dtype:
    """A type of numbers; its byte order comes later in the file."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = _text(code)
        self.order = "<"

    def set_state(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array(list[Any]):
    """Stands in for a one-dimensional array; its numbers come later in the file."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def set_state(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, data = state
        values = _numbers(dtype, data)
        if shape != (len(values),):
            raise PlainPickleError(f"it holds an array of shape {shape!r:.40}, not a list of numbers")
        self[:] = values


def _scalar(dtype: _Dtype, data: str | bytes) -> Any:
    return _numbers(dtype, data)[0]


def _encoded(text: str = "", encoding: str = "latin1") -> bytes:
    """Stands in for bytes, which Python 3 writes as Latin-1 text in protocols 0 to 2."""
    if encoding != "latin1":
        raise ValueError(encoding)
    return text.encode(encoding)


def _numbers(dtype: _Dtype, data: str | bytes) -> list[Any]:
    code, order = _of_type(_Dtype, dtype).code, dtype.order
    if not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise PlainPickleError(f"it holds an array of {code!r:.20}, not of numbers")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    numbers: list[Any] = np.frombuffer(raw, np.dtype(f"{order}{code}")).tolist()
    return numbers


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


NUMPY_NAMES: Mapping[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": _Array,
    "numpy._core.multiarray _reconstruct": _Array,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "numpy dtype": _Dtype,
    "numpy ndarray": _Array,  # the file names it as the type that `_reconstruct` is to make
    "_codecs encode": _encoded,
    "__builtin__ bytes": _encoded,
}
