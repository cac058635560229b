"""Reads the arrays in an answer over gRPC: a serialised `tensorflow.serving.PredictResponse`.

The fields are read one by one, in place. Protobuf's own parser would first make objects of everything that a message
holds: two bytes on the wire can become a message of 60 bytes in memory, and a tensor's shape can claim any number of
values with none behind it.
https://protobuf.dev/programming-guides/encoding/ describes the encoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2

from tfvlad.serving._outputs import LONGEST_TEXT, Arrays, Kind, Output, Outputs, check_names, checked_values

_OUTPUTS, _KEY, _VALUE = 1, 1, 2  # of PredictResponse, and of the entries of a map
_MOST_FIELDS = 64  # of one message, beside one for each value of an array
_SLACK = 4096  # bytes of everything around the values

_BYTES: dict[Kind, int] = {"float": 4, "int": 10, "bool": 2, "text": 4 * LONGEST_TEXT + 8}

_NOTHING = memoryview(b"")

Value: TypeAlias = int | memoryview
_Proto, _Shape = tensor_pb2.TensorProto, tensor_shape_pb2.TensorShapeProto


class _Encoding(NamedTuple):
    """How TensorFlow writes the values of one kind: the tensor's type, and the field that they are in."""

    dtype: int
    field: int
    numpy: Any


_ENCODINGS: dict[Kind, _Encoding] = {
    "float": _Encoding(types_pb2.DT_FLOAT, _Proto.FLOAT_VAL_FIELD_NUMBER, np.dtype("<f4")),
    "int": _Encoding(types_pb2.DT_INT32, _Proto.INT_VAL_FIELD_NUMBER, np.dtype("<i4")),
    "bool": _Encoding(types_pb2.DT_BOOL, _Proto.BOOL_VAL_FIELD_NUMBER, np.dtype("?")),
    "text": _Encoding(types_pb2.DT_STRING, _Proto.STRING_VAL_FIELD_NUMBER, np.dtype(object)),
}


def most_bytes(expected: Outputs) -> int:
    """The bytes of an answer with these outputs, at most."""
    return _SLACK + sum(output.most * _BYTES[output.kind] for output in expected.values())


def read_outputs(response: bytes, expected: Outputs) -> Arrays:
    """Reads the arrays, by name. Numbers are float32 or int32; texts are `str` in arrays of objects.

    Raises:
      ValueError: the bytes are something else than a message with exactly the expected arrays.
    """
    try:
        entries = list(_entries(memoryview(response)))
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    check_names([name for name, _ in entries], expected)
    arrays = {}
    for name, tensor in entries:
        try:
            arrays[name] = checked_values(_array(tensor, expected[name]), expected[name].kind)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return arrays


def _entries(response: memoryview) -> Iterator[tuple[str, memoryview]]:
    """The names of the outputs, and their tensors."""
    for number, entry in _fields(response, _MOST_FIELDS):
        if number == _OUTPUTS:
            fields = dict(_fields(_bytes(entry), _MOST_FIELDS))
            yield _text(fields.get(_KEY, _NOTHING)), _bytes(fields.get(_VALUE, _NOTHING))


def _array(tensor: memoryview, output: Output) -> npt.NDArray[Any]:
    encoding = _ENCODINGS[output.kind]
    dtype, shape, content = 0, _NOTHING, None
    parts: list[Value] = []
    for number, value in _fields(tensor, output.most + _MOST_FIELDS):
        if number == _Proto.DTYPE_FIELD_NUMBER:
            dtype = _number(value)
        elif number == _Proto.TENSOR_SHAPE_FIELD_NUMBER:
            shape = _bytes(value)
        elif number == _Proto.TENSOR_CONTENT_FIELD_NUMBER:
            content = _bytes(value)
        elif number == encoding.field:
            parts.append(value)
    if dtype != encoding.dtype:
        raise ValueError(f"has the type {_type_name(dtype)}, not {_type_name(encoding.dtype)}")
    lengths = _lengths(shape)
    output.check_shape(lengths)
    count = math.prod(lengths)
    if content is not None and output.kind != "text":
        if len(content) != count * encoding.numpy.itemsize or parts:
            raise ValueError(f"has {len(content)} bytes for {count} values")
        values = np.frombuffer(content, encoding.numpy).copy()
    else:
        values = _values(parts, output.kind, count)
    return values.reshape(lengths)


def _values(parts: list[Value], kind: Kind, count: int) -> npt.NDArray[Any]:
    """The values of a tensor from the field of their kind; where there are fewer than `count`, the last one repeats."""
    if kind == "float":
        numbers = b"".join(_bytes(part) for part in parts)  # packed: many values in one field
        if len(numbers) > 4 * count or len(numbers) % 4:
            raise ValueError(f"has {len(numbers)} bytes for {count} values")
        found = np.frombuffer(numbers, "<f4")
    elif kind == "text":
        found = np.array([_text(part) for part in parts], object)
    else:
        integers = [integer for part in parts for integer in _integers(part, count)]
        if kind == "int" and any(not -(2**31) <= integer < 2**31 for integer in integers):
            raise ValueError("has numbers that are no int32")
        found = np.array(integers, _ENCODINGS[kind].numpy)
    if len(found) > count:
        raise ValueError(f"has {len(found)} values, not {count}")
    values = np.full(count, found[-1] if len(found) else "" if kind == "text" else 0, found.dtype)
    values[: len(found)] = found
    return values


def _integers(part: Value, most: int) -> Iterator[int]:
    """The numbers of a field: one, or many that are packed."""
    if isinstance(part, int):
        yield _signed(part)
        return
    at = 0
    for _ in range(most + 1):
        if at == len(part):
            return
        value, at = _varint(part, at)
        yield _signed(value)
    raise ValueError(f"has more than {most} values")


def _lengths(shape: memoryview) -> tuple[int, ...]:
    lengths = []
    for number, dimension in _fields(shape, _MOST_FIELDS):
        if number == _Shape.UNKNOWN_RANK_FIELD_NUMBER:
            raise ValueError("has no shape")
        if number == _Shape.DIM_FIELD_NUMBER:
            fields = dict(_fields(_bytes(dimension), _MOST_FIELDS))
            lengths.append(_signed(_number(fields.get(_Shape.Dim.SIZE_FIELD_NUMBER, 0))))
    return tuple(lengths)


def _fields(message: memoryview, most: int) -> Iterator[tuple[int, Value]]:
    """The fields of a message, in order: their numbers, and integers or bytes.

    Raises:
      ValueError: it is no message, or it has more than `most` fields.
    """
    at = 0
    for _ in range(most + 1):
        if at == len(message):
            return
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _varint(message, at)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError("is no protobuf message")
        if length > len(message) - at:
            raise ValueError("is a protobuf message that is cut off")
        yield number, message[at : at + length]
        at += length
    raise ValueError(f"has more than {most} fields")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The integer that begins at a position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("is a protobuf message that is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
    raise ValueError("has an integer of more than 64 bits")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("has bytes where a number belongs")
    return value


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("has a number where bytes belong")
    return value


def _text(value: Value) -> str:
    return bytes(_bytes(value)).decode(errors="replace")


def _type_name(dtype: int) -> str:
    return str(types_pb2.DataType.Name(dtype)) if dtype in types_pb2.DataType.values() else str(dtype)
