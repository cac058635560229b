"""Reads the tensors of a PyTorch state dict without PyTorch, and without executing what the file names.

`torch.save` pickles the tensors with a reference to their storage, and writes the numbers of the storages beside it:
since PyTorch 1.6 as members of a zip archive, before behind the pickle. Both are read here.
"""

from __future__ import annotations

import dataclasses
import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tfvlad.errors import WeightsError
from tfvlad.storage.plain_pickle import Named, PlainPickleError, read_plain_pickle

Numbers = npt.NDArray[Any]

_MOST_AXES = 32
ZIP_START = b"PK\x03\x04"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two numbers of a file without an archive
OLD_START = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little")


@dataclasses.dataclass(frozen=True, eq=False)
class _Storage:
    """Numbers that tensors show parts of."""

    dtype: np.dtype[Any]
    key: str
    length: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Tensor:
    """A tensor, told by its place in a storage; all in numbers of that storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDict(dict[Any, Any]):
    """Stands in for an OrderedDict, whose attributes (the versions of modules) are passed over."""

    def set_state(self, _: Any) -> None:
        pass


_NAMES: Mapping[str, Any] = {
    "collections OrderedDict": _StateDict,
    "torch._utils _rebuild_tensor_v2": lambda storage, offset, shape, strides, *_: _Tensor(
        storage, offset, shape, strides
    ),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype("<i8"),
}


def read_torch_file(data: bytes) -> dict[str, Numbers]:
    """Reads a state dict as `torch.save` wrote it.

    Args:
      data: the file's bytes.

    Returns:
      Name -> array of the tensor's type and shape, which cannot be written to.

    Raises:
      WeightsError: it is damaged, or holds more than tensors; the message says what, without the file's name.
    """
    try:
        return _read_zip(data) if data.startswith(ZIP_START) else _read_old(data)
    except Exception as error:  # zipfile raises errors of many types for bytes that are no archive
        raise WeightsError(f"damaged, or no PyTorch state dict: {error or type(error).__name__}") from None


def _read_zip(data: bytes) -> dict[str, Numbers]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        # Uncompressed, the members cannot be larger than the file; compressed, a kilobyte can stand for a gigabyte.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, which PyTorch's files are not")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("its members are larger than the file")
        folders = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(folders) != 1:
            raise ValueError("there must be one data.pkl in it")
        if f"{folders[0]}byteorder" in archive.namelist() and archive.read(f"{folders[0]}byteorder") != b"little":
            raise ValueError("its numbers must be little-endian")
        tensors, storages = _read_pickle(archive.read(f"{folders[0]}data.pkl"))
        return _arrays(tensors, {key: archive.read(f"{folders[0]}data/{key}") for key in storages})


def _read_old(data: bytes) -> dict[str, Numbers]:
    file = io.BytesIO(data)
    start = [read_plain_pickle(file) for _ in range(3)]  # the magic number, the protocol, and what wrote it
    if start[:2] != [_MAGIC, _PROTOCOL] or start[2].get("little_endian") is not True:
        raise ValueError("it does not begin as they do, or is not little-endian")
    tensors, storages = _read_pickle(file)
    numbers = {}
    for key in read_plain_pickle(file):
        storage = storages[key]
        if int.from_bytes(file.read(8), "little") != storage.length:
            raise ValueError(f"storage {key} has another length than its tensors say")
        numbers[key] = file.read(storage.length * storage.dtype.itemsize)
    return _arrays(tensors, numbers)


def _read_pickle(source: bytes | io.BytesIO) -> tuple[dict[str, _Tensor], dict[str, _Storage]]:
    """Reads the tensors by their names, and the storages that they are in by their keys."""
    storages: dict[str, _Storage] = {}

    def load(persistent_id: Any) -> _Storage:
        kind, name, key, _, length, *view = persistent_id
        dtype = name.stand_in if isinstance(name, Named) else None
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str) or view not in ([], [None]):
            raise PlainPickleError("it holds a storage of an unknown kind")
        storage = storages.setdefault(key, _Storage(dtype, key, length))
        if not _is_count(length) or (storage.dtype, storage.length) != (dtype, length):
            raise PlainPickleError(f"storage {key!r:.60} has no length, or two")
        return storage

    tensors = read_plain_pickle(source, _NAMES, load)
    if not isinstance(tensors, dict):
        raise ValueError("it holds no dict")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"{name!r:.60} is no tensor")
    return tensors, storages


def _arrays(tensors: Mapping[str, _Tensor], numbers: Mapping[str, bytes]) -> dict[str, Numbers]:
    return {name: _array(name, tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}


def _array(name: str, tensor: _Tensor, numbers: bytes) -> Numbers:
    values = np.frombuffer(numbers, tensor.storage.dtype)
    if len(values) != tensor.storage.length:
        raise ValueError(f"storage {tensor.storage.key} has another length than its tensors say")
    steps = list(zip(tensor.shape, tensor.strides, strict=True))
    if len(steps) > _MOST_AXES or not all(map(_is_count, (tensor.offset, *tensor.shape, *tensor.strides))):
        raise ValueError(f"{name!r:.60} has no place in its storage")
    count, last = math.prod(tensor.shape), tensor.offset + sum((size - 1) * stride for size, stride in steps)
    if count > len(values) or (count and last >= len(values)):
        raise ValueError(f"{name!r:.60} reaches beyond its storage")
    strides = [stride * values.itemsize if size > 1 else 0 for size, stride in steps]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 0
