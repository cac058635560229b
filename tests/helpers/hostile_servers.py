"""Model servers that answer with whatever bytes a test gives them, and the answers of an honest one to begin with."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

DIM = 4
FINGERPRINT = "ab" * 32
SIGNATURE = f"tiny_{FINGERPRINT[:12]}"

Arrays = dict[str, np.ndarray]


class RefusalError(Exception):
    """Makes a server over gRPC answer with an error that says this."""


def honest(signature: str, count: int) -> Arrays:
    """What an exported encoder answers: descriptors along an axis; maps of 2 x 3 cells with 8 channels."""
    if signature == "info":
        told = {"fingerprint": FINGERPRINT, "dim": np.int32(DIM), "label": "tiny", "signature": SIGNATURE}
        return {name: np.array([value] * count) for name, value in told.items()}
    answer: Arrays = {"descriptor": np.eye(count, DIM, dtype=np.float32), "valid": np.arange(count) < DIM}
    if signature == "local_features":
        answer["features"] = np.full((count, 2, 3, 8), 8**-0.5, np.float32)
        answer["grid"] = np.array([[2, 3]] * count, np.int32)
        answer["fingerprint"] = np.array([FINGERPRINT] * count)
    return answer


def as_json(arrays: Arrays) -> bytes:
    """The body of an answer over REST."""
    return json.dumps({"outputs": {name: array.tolist() for name, array in arrays.items()}}).encode()


def as_proto(arrays: Arrays) -> bytes:
    """The message of an answer over gRPC."""
    response = predict_pb2.PredictResponse()
    for name, array in arrays.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
    return bytes(response.SerializeToString())


def http_answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """The bytes of an answer over HTTP; its Content-Length is right unless `headers` have another one."""
    length = [] if any(header.lower().startswith(("content-length", "transfer")) for header in headers) else [len(body)]
    lines = [f"HTTP/1.1 {status}", *headers, *(f"Content-Length: {number}" for number in length)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextlib.contextmanager
def http_server(answer: Callable[[str, int], bytes | Iterable[bytes]]) -> Iterator[str]:
    """Answers each request over HTTP with the bytes that `answer` gives for a signature and a number of images.

    Yields:
      The URL of a model there.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, answer), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/models/m"


def _accept(server: socket.socket, answer: Callable[[str, int], bytes | Iterable[bytes]]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed
            return
        threading.Thread(target=_answer, args=(connection, answer), daemon=True).start()


def _answer(connection: socket.socket, answer: Callable[[str, int], bytes | Iterable[bytes]]) -> None:
    with connection, contextlib.suppress(OSError):
        file = connection.makefile("rb")
        length = 0
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        request = json.loads(file.read(length))
        images = next(iter(request["inputs"].values()))
        pieces = answer(request["signature_name"], len(images))
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            connection.sendall(piece)


@contextlib.contextmanager
def grpc_server(answer: Callable[[str, int], bytes], **options: Any) -> Iterator[str]:
    """Answers each request over gRPC with the bytes that `answer` gives for a signature and a number of images.

    Yields:
      The URL of a model there.
    """

    def predict(request: bytes, context: Any) -> bytes:
        asked = predict_pb2.PredictRequest.FromString(request)
        images = next(iter(asked.inputs.values()))
        try:
            return answer(asked.model_spec.signature_name, images.tensor_shape.dim[0].size)
        except RefusalError as refused:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
            raise

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(predict)

    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), [Handler()], options=unlimited, **options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}/m"
    finally:
        server.stop(None).wait()
