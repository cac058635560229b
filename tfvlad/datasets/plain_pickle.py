"""Plain data out of a pickle, without unpickling: what the revisited Oxford/Paris benchmark is published as.

Unpickling calls whatever the file names. Here the file's opcodes are read as data (`pickletools.genops`), and what they
may come to is fixed: None, booleans, numbers, strings, bytes, lists, tuples, dicts, and one-dimensional NumPy
arrays and scalars of numbers, which become lists and numbers. No name in the file is looked up and nothing is called.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_ARRAY, _SCALAR, _DTYPE, _NDARRAY, _ENCODE, _BYTES = "array", "scalar", "dtype", "ndarray", "encode", "bytes"
_KNOWN = {
    "numpy.core.multiarray _reconstruct": _ARRAY,
    "numpy._core.multiarray _reconstruct": _ARRAY,
    "numpy.core.multiarray scalar": _SCALAR,
    "numpy._core.multiarray scalar": _SCALAR,
    "numpy dtype": _DTYPE,
    "numpy ndarray": _NDARRAY,
    "_codecs encode": _ENCODE,  # how Python 3 writes bytes in protocols 0 to 2
    "__builtin__ bytes": _BYTES,  # and empty ones
}
_NUMBERS = re.compile(r"[iuf][1248]|b1")
_MARK = object()


class _Named(NamedTuple):
    """What the file refers to by a name."""

    kind: str


class _Dtype:
    """A type of numbers, whose byte order follows."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"


class _Array:
    """A one-dimensional array, whose numbers follow."""

    values: list[Any] | None = None


class PlainPickleError(ValueError):
    """The file is no pickle, or holds more than plain data."""


def read_plain_pickle(data: bytes) -> Any:
    """Reads what Python 2 or 3 wrote with `pickle.dump`, protocols 0 to 4.

    Args:
      data: the file's bytes.

    Returns:
      The object, of the types that the module names.

    Raises:
      PlainPickleError: says what else is in it.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return _plain(machine.stack.pop(), {})
    except PlainPickleError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError, UnicodeError) as error:
        raise PlainPickleError(f"damaged, or no pickle ({type(error).__name__})") from None


class _Machine:
    """The stack and the memo of the pickle format; see `pickletools` for what each opcode does with them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
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
            stack.append(_COLLECTIONS[name](self._to_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._to_mark()
            _of_type(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._to_mark()
            _of_type(dict, stack[-1]).update(_pairs(items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_named(argument if name == "GLOBAL" else f"{stack.pop(-2)} {stack.pop()}"))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_reduce(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack.append(_build(stack.pop(), state))
        else:
            raise PlainPickleError(f"holds more than plain data ({name})")

    def _to_mark(self) -> list[Any]:
        place = max(n for n, item in enumerate(self.stack) if item is _MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items


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
    "MARK": lambda: _MARK,
}
_COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "DICT": lambda items: _pairs(items),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _of_type(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value


def _named(name: str) -> _Named:
    if name not in _KNOWN:
        raise PlainPickleError(f"holds more than plain data ({name.replace(' ', '.', 1)})")
    return _Named(_KNOWN[name])


def _reduce(named: _Named, arguments: tuple[Any, ...]) -> Any:
    if named.kind == _ARRAY:
        return _Array()
    if named.kind == _DTYPE:
        return _Dtype(_text(arguments[0]))
    if named.kind == _SCALAR:
        return _numbers(arguments[0], arguments[1]).tolist()[0]
    if named.kind == _ENCODE and arguments[1] == "latin1":
        return arguments[0].encode("latin-1")
    if named.kind == _BYTES and arguments == ():
        return b""
    raise TypeError(named.kind)


def _build(built: Any, state: tuple[Any, ...]) -> Any:
    """Fills in an array or the byte order of a type: what `__setstate__` would be given."""
    if isinstance(built, _Dtype):
        built.order = _text(state[1])
        return built
    _, shape, dtype, _, data = state
    values = _numbers(dtype, data).tolist()
    if shape != (len(values),):
        raise PlainPickleError(f"holds an array of shape {shape!r:.40}, not a list of numbers")
    _of_type(_Array, built).values = values
    return built


def _numbers(dtype: _Dtype, data: Any) -> np.ndarray[Any, Any]:
    code, order = _of_type(_Dtype, dtype).code, dtype.order
    if not _NUMBERS.fullmatch(code) or order not in ("<", ">", "|", "="):
        raise PlainPickleError(f"holds an array of {code!r:.20}, not of numbers")
    return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, np.dtype(f"{order}{code}"))


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Puts the filled arrays' lists in the place of the arrays; an object met before is not gone through again."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _Named | _Dtype) or value is _MARK:
        raise TypeError("a name")
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        result: Any = {_plain(key, done): _plain(item, done) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        result = type(value)(_plain(item, done) for item in value)
    else:
        return value
    done[id(value)] = result
    return result
