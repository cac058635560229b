"""Plain data out of a pickle, without unpickling: what the revisited Oxford/Paris benchmark is published as.

Unpickling calls whatever the file names. Here the file's opcodes are read as data (`pickletools.genops`), and what they
may come to is fixed: None, booleans, numbers, strings, bytes, lists, tuples, dicts, and one-dimensional NumPy
arrays and scalars of numbers, which become lists and numbers. Nothing that the file names is imported or called; the
few names that it may hold stand for functions of `tfvlad.evaluation.datasets.pickled_names`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from tfvlad.evaluation.datasets.pickled_names import Dtype, Named, PlainPickleError, build, named, of_type

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
        self._marks: list[int] = []  # sizes of the stack
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
            of_type(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._to_mark()
            of_type(dict, stack[-1]).update(_pairs(items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(named(argument if name == "GLOBAL" else f"{stack.pop(-2)} {stack.pop()}"))
        elif name == "REDUCE":
            arguments = of_type(tuple, stack.pop())
            stack.append(of_type(Named, stack.pop()).stand_in(*arguments))
        elif name == "BUILD":
            state = of_type(tuple, stack.pop())
            build(stack[-1], state)
        else:
            raise PlainPickleError(f"it holds more than plain data ({name})")

    def _to_mark(self) -> list[Any]:
        place = self._marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items


def _require_plain(value: Any) -> None:
    """Refuses what a complete pickle leaves behind of names and types of numbers."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, Named | Dtype):
            raise TypeError("a name")
        if isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting += item
            waiting += item.values() if isinstance(item, dict) else ()


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if any(isinstance(key, tuple) for key in items[::2]):  # of a deeply nested one the hash would overflow C's stack
        raise PlainPickleError("it holds a dict with a tuple as key")
    return dict(zip(items[::2], items[1::2], strict=True))
