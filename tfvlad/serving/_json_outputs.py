"""Reads the arrays in an answer over REST: TensorFlow Serving's columnar JSON, {"outputs": {name: nested arrays}}."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.serving._outputs import LONGEST_TEXT, Arrays, Kind, Output, Outputs, check_names, checked_values

# Bytes of a value, at most: a float has a sign, 17 digits, a point and an exponent, and a space and a comma behind it;
# each character of a text may be escaped.
_BYTES: dict[Kind, int] = {"float": 32, "int": 32, "bool": 16, "text": 6 * LONGEST_TEXT + 16}
_ROW_BYTES = 128  # of an array's brackets and indentation
_FEWEST_CHANNELS = 8  # per innermost array, on the average, where the server chooses its length
_SLACK = 4096  # bytes of everything around the arrays

_TYPES: dict[Kind, set[type]] = {"float": {float, int}, "int": {int}, "bool": {bool}, "text": {str}}
_DTYPES: dict[Kind, Any] = {"float": np.float32, "int": np.int64, "bool": np.bool_, "text": object}


def most_bytes(expected: Outputs) -> int:
    """The bytes of an answer with these outputs, at most."""
    return _SLACK + sum(
        output.most * _BYTES[output.kind] + _arrays(output) * _ROW_BYTES * (None not in output.shape)
        for output in expected.values()
    )


def read_outputs(body: bytes, expected: Outputs) -> Arrays:
    """Reads the arrays, by name. Numbers are float32 or int64; texts are `str` in arrays of objects.

    Raises:
      ValueError: the bytes are something else than JSON with exactly the expected arrays.
    """
    # Two bytes of JSON can become an object of 60 bytes, so the objects are counted before they are made.
    values = sum(output.most for output in expected.values())
    if body.count(b",") > values + _SLACK or body.count(b"[") + body.count(b"{") > _SLACK + sum(
        map(_arrays, expected.values())
    ):
        raise ValueError("it has more values than were asked for")
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, dict):
        raise ValueError('it has no "outputs" by name')
    check_names(list(outputs), expected)
    arrays = {}
    for name, rows in outputs.items():
        try:
            arrays[name] = _array(rows, expected[name])
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} {error}") from None
    return arrays


def _arrays(output: Output) -> int:
    """The number of nested arrays that an output has, at most."""
    if None in output.shape:
        return output.most // _FEWEST_CHANNELS
    return sum(itertools.accumulate([1, *(length or 0 for length in output.shape[:-1])], lambda a, b: a * b))


def _array(value: Any, output: Output) -> npt.NDArray[Any]:
    rows, found = [value], []
    for wanted in output.shape:
        if set(map(type, rows)) - {list}:
            raise ValueError(f"is no array of {len(output.shape)} dimensions")
        lengths = set(map(len, rows)) or {0}  # JSON drops the lengths behind a length of 0
        if len(lengths) > 1 or (wanted is not None and lengths != {wanted}):
            raise ValueError(f"has rows of {min(lengths)} to {max(lengths)} values, not of {wanted or 'one length'}")
        found.append(lengths.pop())
        rows = list(itertools.chain.from_iterable(rows))
    output.check_shape(tuple(found))
    if set(map(type, rows)) - _TYPES[output.kind]:
        raise ValueError(f"has values that are no {output.kind}")
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, which is refused
        array = np.array(rows, _DTYPES[output.kind]).reshape(found)
    return checked_values(array, output.kind)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
