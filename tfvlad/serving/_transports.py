"""Asks a model server for one prediction, over gRPC or REST, and reads the answer as far as an honest one can be long.

https://www.tensorflow.org/tfx/serving/api_rest; for gRPC, `PredictionService` in tensorflow_serving/apis.
"""

from __future__ import annotations

import base64
import http
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import grpc
import numpy.typing as npt

from tfvlad.errors import ConfigError, ServingError
from tfvlad.serving import _json_outputs, _proto_outputs
from tfvlad.serving._outputs import Arrays, Outputs, UnavailableError, quoted
from tfvlad.serving._protos import predict_request
from tfvlad.serving.bounded_http import TooLongError, ask

_JSON = {"Content-Type": "application/json"}
_FORMS = "grpc://HOST:PORT/NAME or http://HOST:PORT/v1/models/NAME, either with /versions/N behind it"


class Transport(Protocol):
    """A connection to one model on a server.

    Attributes:
      most_values: numbers in an answer, at most. One that would have more is not asked for.
      most_maps: images whose local features are asked for in one request, at most.
    """

    most_values: int
    most_maps: int

    def predict(
        self, signature: str, inputs: Mapping[str, npt.NDArray[Any]], expected: Outputs, until: float
    ) -> Arrays:
        """Asks for one prediction, once.

        Args:
          signature: the name of the model's function.
          inputs: arrays by name; bytes have dtype object.
          expected: what the answer holds. Anything else is refused, and nothing is read that is longer.
          until: when the answer must be there, as `time.monotonic` tells it.

        Raises:
          TimeoutError: it is not.
          UnavailableError, ServingError: there is no answer, or another one.
        """
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


def transport(url: str) -> Transport:
    """Makes the transport for a model's URL.

    Raises:
      ConfigError: the URL has another form than a served model's.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        is_address = parts.scheme == "grpc" or (bool(parts.hostname) and parts.port != 0)
    except ValueError:  # of brackets that do not match, and of ports that are no number
        is_address = False
    if not (is_address and url.isascii() and url.isprintable() and " " not in url):
        raise ConfigError(f"{url} is not the URL of a served encoder: {_FORMS}")
    path, _, version = parts.path.strip("/").partition("/versions/")
    numbered = version.isdecimal() if "/versions/" in parts.path else True
    if parts.scheme == "grpc" and parts.netloc and path and "/" not in path and numbered:
        return GrpcTransport(parts.netloc, path, int(version) if version else None)
    if parts.scheme in ("http", "https") and path.startswith("v1/models/") and numbered:
        return RestTransport(url.rstrip("/"))
    raise ConfigError(f"{url} is not the URL of a served encoder: {_FORMS}")


class GrpcTransport:
    """Asks over gRPC, without compression, as images are compressed already."""

    most_values = 2**25  # 128 MiB
    most_maps = 4

    def __init__(self, server: str, model: str, version: int | None) -> None:
        self._server, self._model, self._version = server, model, version
        self._lock = threading.Lock()
        self._channels: dict[int, grpc.Channel] = {}  # by the bytes of an answer, which only a channel can bound

    def predict(
        self, signature: str, inputs: Mapping[str, npt.NDArray[Any]], expected: Outputs, until: float
    ) -> Arrays:
        request = predict_request(self._model, signature, inputs, self._version)
        ask = self._method(_proto_outputs.most_bytes(expected))
        url = f"grpc://{self._server}/{self._model}"
        try:
            response = ask(request, timeout=max(0.0, until - time.monotonic()))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() >= until:
                raise TimeoutError from None
            unavailable = error.code() == grpc.StatusCode.UNAVAILABLE
            kind = UnavailableError if unavailable else ServingError
            raise kind(f"{url}: {error.code().name}: {quoted(error.details())}") from None
        return _outputs(url, _proto_outputs.read_outputs, response or b"", expected)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def _method(self, most_bytes: int) -> Any:
        limit = 1 << most_bytes.bit_length()  # so that there are few channels
        with self._lock:
            if limit not in self._channels:
                options = {
                    "grpc.max_send_message_length": -1,
                    "grpc.max_receive_message_length": limit,
                    "grpc.enable_retries": 0,  # the caller decides what is tried again, and when
                    # The limit is for what comes over the wire, and what is compressed can become a thousand times
                    # as long: it is left as it is, and is then no message.
                    "grpc.per_message_decompression": 0,
                    "grpc.compression_enabled_algorithms_bitset": 1,
                }
                self._channels[limit] = grpc.insecure_channel(self._server, options=list(options.items()))
            return self._channels[limit].unary_unary("/tensorflow.serving.PredictionService/Predict")


class RestTransport:
    """Asks over REST, in its columnar form. Every request has its own connection."""

    most_values = 2**22  # in JSON, up to 128 MiB
    most_maps = 1

    def __init__(self, url: str) -> None:
        self._url = url

    def predict(
        self, signature: str, inputs: Mapping[str, npt.NDArray[Any]], expected: Outputs, until: float
    ) -> Arrays:
        columns = {
            name: [{"b64": base64.b64encode(value).decode()} for value in array]
            if array.dtype == object
            else array.tolist()
            for name, array in inputs.items()
        }
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        most = _json_outputs.most_bytes(expected)
        try:
            answer = ask(f"{self._url}:predict", body, _JSON, most, until)
        except TooLongError:
            raise ServingError(f"{self._url}: the answer has more than {most} bytes, and is not read") from None
        except UnavailableError as error:
            raise UnavailableError(f"{self._url}: {error}") from None
        if answer.status != http.HTTPStatus.OK:
            kind = UnavailableError if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE else ServingError
            is_redirect = 300 <= answer.status < 400
            said = "a redirect, which is not followed" if is_redirect else quoted(answer.body.decode(errors="replace"))
            raise kind(f"{self._url}: {answer.status} {quoted(answer.reason)}: {said}")
        return _outputs(self._url, _json_outputs.read_outputs, answer.body, expected)

    def close(self) -> None:
        """Does nothing, as no connection is kept."""


def _outputs(url: str, read: Callable[[bytes, Outputs], Arrays], answer: bytes, expected: Outputs) -> Arrays:
    try:
        return read(answer, expected)
    except ValueError as error:
        raise ServingError(f"{url}: the answer is not that of an exported encoder: {quoted(str(error))}") from None
