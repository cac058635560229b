"""Model servers in the test process: a gRPC PredictionService and a REST server that run an exported model."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Model:
    """An exported model that a test server runs, and a record of its requests.

    Attributes:
      name: the name that clients ask for.
      signatures: the signatures of the exported model.
      asked: (signature, rows) of every request, in order.
      headers: the headers of every request, in order.
      unavailable: number of requests to refuse before the next one is answered.
      delay: seconds to wait before each answer.
    """

    def __init__(self, signatures: Any, name: str = "covers") -> None:
        self.name = name
        self.signatures = signatures
        self.asked: list[tuple[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.unavailable = 0
        self.delay = 0.0

    def is_refusing(self) -> bool:
        """Counts a request, and returns whether it is to be refused."""
        self.unavailable -= 1
        return self.unavailable >= 0

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature of the model."""
        time.sleep(self.delay)
        self.asked.append((signature, len(next(iter(inputs.values())))))
        return {name: value.numpy() for name, value in self.signatures[signature](**inputs).items()}


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: Model) -> None:
        self._model = model

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._model.headers.append(dict(context.invocation_metadata()))
        if self._model.is_refusing():
            context.abort(grpc.StatusCode.UNAVAILABLE, "loading")
        if request.model_spec.name != self._model.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: {request.model_spec.name}")
        signature = request.model_spec.signature_name or "serving_default"
        if signature not in self._model.signatures:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "Serving signature name not found in signature def")
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in self._model.run(signature, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


class _RestHandler(http.server.BaseHTTPRequestHandler):
    model: Model

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.model.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.model.is_refusing():
            return self._answer(503, {"error": "loading"})
        if self.path != f"/v1/models/{self.model.name}:predict":
            return self._answer(404, {"error": "Malformed request"})
        signature = request.get("signature_name", "serving_default")
        if signature not in self.model.signatures:
            return self._answer(400, {"error": "Serving signature name not found in signature def"})
        inputs = {
            name: tf.constant(
                [base64.b64decode(value["b64"]) if isinstance(value, dict) else value for value in column]
            )
            for name, column in request["inputs"].items()
        }
        outputs = self.model.run(signature, inputs)
        plain = {
            name: np.char.decode(rows.astype(bytes)).tolist() if rows.dtype == object else rows.tolist()
            for name, rows in outputs.items()
        }
        return self._answer(200, {"outputs": plain})

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def grpc_server(model: Model) -> Iterator[str]:
    """Serves the model on the loopback interface while the block runs; yields its URL."""
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}/{model.name}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def rest_server(model: Model) -> Iterator[str]:
    """Serves the model on the loopback interface while the block runs; yields its URL."""
    handler = type("Handler", (_RestHandler,), {"model": model})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/models/{model.name}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
