"""The requests of TensorFlow Serving that are made here, declared without TensorFlow Serving's package.

The messages are those of tensorflow_serving/apis (`model.proto`, `predict.proto`, `prediction_log.proto`); the tensors
in them are kept as their bytes, which protobuf encodes alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tfvlad.serving.client"
_Field = descriptor_pb2.FieldDescriptorProto


def _declare(file: descriptor_pb2.FileDescriptorProto, name: str, /, **fields: tuple[int, str | int]) -> Any:
    """Adds a message; a field is (number, scalar type or message name)."""
    message = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        if isinstance(kind, str):
            message.field.add(
                name=field, number=number, type=_Field.TYPE_MESSAGE, type_name=f".{_PACKAGE}.{kind}", label=1
            )
        else:
            message.field.add(name=field, number=number, type=kind, label=1)
    return message


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tfvlad/serving.proto", package=_PACKAGE, syntax="proto3")
    # On the wire, a map is a repeated message of key and value.
    _declare(file, "NamedTensor", key=(1, _Field.TYPE_STRING), value=(2, _Field.TYPE_BYTES))
    _declare(file, "Version", value=(1, _Field.TYPE_INT64))
    _declare(
        file, "ModelSpec", name=(1, _Field.TYPE_STRING), version=(2, "Version"), signature_name=(3, _Field.TYPE_STRING)
    )
    request = _declare(file, "PredictRequest", model_spec=(1, "ModelSpec"), inputs=(2, "NamedTensor"))
    _declare(file, "PredictLog", request=(1, "PredictRequest"))
    _declare(file, "PredictionLog", predict_log=(6, "PredictLog"))
    request.field[1].label = _Field.LABEL_REPEATED
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}"))
        for message in file.message_type
    }


_MESSAGES = _messages()


def predict_request(
    model: str, signature: str, inputs: Mapping[str, npt.NDArray[Any]], version: int | None = None
) -> bytes:
    """Makes a serialised `tensorflow.serving.PredictRequest`.

    Args:
      model: the model's name on the server.
      signature: the name of one of its functions.
      inputs: arrays by name; bytes have dtype object.
      version: the model's version; None leaves the choice to the server.
    """
    request = _MESSAGES["PredictRequest"]()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, array in inputs.items():
        dtype = tf.string if array.dtype == object else array.dtype
        request.inputs.add(key=name, value=tf.make_tensor_proto(array, dtype).SerializeToString())
    return bytes(request.SerializeToString())


def prediction_log(request: bytes) -> bytes:
    """Makes a serialised `tensorflow.serving.PredictionLog` of one request, as a warm-up file holds it."""
    log = _MESSAGES["PredictionLog"]()
    log.predict_log.request.MergeFromString(request)
    return bytes(log.SerializeToString())
