"""Reads the weights of a `.caffemodel`, a serialised `caffe.NetParameter`, without Caffe.

The few messages of Caffe's `caffe.proto` that hold weights are declared here; all other fields are passed over.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from tfvlad.errors import WeightsError

Floats = npt.NDArray[np.float32]

_MOST_AXES = 32  # of a blob, in Caffe

_Field = descriptor_pb2.FieldDescriptorProto


def _declare(file: descriptor_pb2.FileDescriptorProto, name: str, /, **fields: tuple[int, str | int, bool]) -> None:
    """Adds a message; a field is (number, scalar type or message name, whether it is repeated)."""
    message = file.message_type.add(name=name)
    for field, (number, kind, repeated) in fields.items():
        label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        if isinstance(kind, str):
            message.field.add(name=field, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=kind)
        else:
            message.field.add(name=field, number=number, label=label, type=kind)


def _net_parameter() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="tfvlad/caffe.proto", package="caffe", syntax="proto2")
    _declare(file, "BlobShape", dim=(1, _Field.TYPE_INT64, True))
    _declare(
        file,
        "BlobProto",
        num=(1, _Field.TYPE_INT32, False),
        channels=(2, _Field.TYPE_INT32, False),
        height=(3, _Field.TYPE_INT32, False),
        width=(4, _Field.TYPE_INT32, False),
        data=(5, _Field.TYPE_FLOAT, True),
        shape=(7, ".caffe.BlobShape", False),
        double_data=(8, _Field.TYPE_DOUBLE, True),
    )
    _declare(file, "V1LayerParameter", name=(4, _Field.TYPE_STRING, False), blobs=(6, ".caffe.BlobProto", True))
    _declare(file, "LayerParameter", name=(1, _Field.TYPE_STRING, False), blobs=(7, ".caffe.BlobProto", True))
    _declare(
        file, "NetParameter", layers=(2, ".caffe.V1LayerParameter", True), layer=(100, ".caffe.LayerParameter", True)
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


_NetParameter = _net_parameter()


def read_caffemodel(data: bytes) -> dict[str, list[Floats]]:
    """Reads the weights of a network's layers.

    Args:
      data: the file's bytes.

    Returns:
      Layer name -> its blobs, each of its own shape: (out, in, height, width) of a convolution's kernel. Before Caffe
      had shapes of any length, a bias was (1, 1, 1, out). Layers without blobs are left out.

    Raises:
      WeightsError: it is damaged, or holds no weights; the message says what, without the file's name.
    """
    try:
        net = _NetParameter.FromString(data)
        layers = {layer.name: list(layer.blobs) for layer in (*net.layers, *net.layer) if layer.blobs}
    except (DecodeError, UnicodeDecodeError):
        raise WeightsError("damaged, or no .caffemodel") from None
    if not layers:
        raise WeightsError("no .caffemodel, or one without weights")
    return {name: [_array(name, blob) for blob in blobs] for name, blobs in layers.items()}


def _array(name: str, blob: Any) -> Floats:
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        numbers = np.array(blob.data or blob.double_data, np.float32)
    if len(shape) > _MOST_AXES or min(shape, default=1) < 0 or math.prod(shape) != len(numbers):
        raise WeightsError(f"damaged: layer {name!r:.60} has {len(numbers)} numbers where {shape!r:.60} are due")
    return numbers.reshape(shape)
