"""Asks a model server for one prediction, over gRPC or REST.

https://www.tensorflow.org/tfx/serving/api_rest; for gRPC, `PredictionService` in tensorflow_serving/apis.
"""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol

import grpc
import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError, ServingError
from tfvlad.serving._protos import predict_outputs, predict_request

Arrays = Mapping[str, npt.NDArray[Any]]

_FORMS = "grpc://HOST:PORT/NAME or http://HOST:PORT/v1/models/NAME, either with /versions/N behind it"
_LONGEST_REASON = 300  # characters of what a server said


class UnavailableError(ServingError):
    """The server does not answer, or says that it cannot at the moment. Only this failure is worth another try."""


class Transport(Protocol):
    """A connection to one model on a server."""

    def predict(self, signature: str, inputs: Arrays, timeout: float) -> dict[str, npt.NDArray[Any]]:
        """Asks for one prediction, once.

        Args:
          signature: the name of the model's function.
          inputs: arrays by name; bytes have dtype object.
          timeout: seconds within which the answer must come.

        Raises:
          UnavailableError, ServingError: there is no answer.
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
    parts = urllib.parse.urlsplit(url)
    path, _, version = parts.path.strip("/").partition("/versions/")
    numbered = version.isdecimal() if "/versions/" in parts.path else True
    if parts.scheme == "grpc" and parts.netloc and path and "/" not in path and numbered:
        return GrpcTransport(parts.netloc, path, int(version) if version else None)
    if parts.scheme in ("http", "https") and path.startswith("v1/models/") and numbered:
        return RestTransport(url.rstrip("/"))
    raise ConfigError(f"{url} is not the URL of a served encoder: {_FORMS}")


class GrpcTransport:
    """Asks over gRPC, without compression, as images are compressed already."""

    def __init__(self, server: str, model: str, version: int | None) -> None:
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._server, self._model, self._version = server, model, version
        # `RemoteEncoder` decides what is tried again, and when.
        self._channel = grpc.insecure_channel(server, options=[*options, ("grpc.enable_retries", 0)])
        self._ask = self._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

    def predict(self, signature: str, inputs: Arrays, timeout: float) -> dict[str, npt.NDArray[Any]]:
        request = predict_request(self._model, signature, inputs, self._version)
        try:
            return predict_outputs(self._ask(request, timeout=timeout))
        except grpc.RpcError as error:
            unavailable = error.code() == grpc.StatusCode.UNAVAILABLE
            kind = UnavailableError if unavailable else ServingError
            raise kind(f"grpc://{self._server}/{self._model}: {error.code().name}: {_short(error.details())}") from None

    def close(self) -> None:
        self._channel.close()


class RestTransport:
    """Asks over REST, in its columnar form."""

    def __init__(self, url: str) -> None:
        self._url = url

    def predict(self, signature: str, inputs: Arrays, timeout: float) -> dict[str, npt.NDArray[Any]]:
        columns = {
            name: [{"b64": base64.b64encode(value).decode()} for value in array]
            if array.dtype == object
            else array.tolist()
            for name, array in inputs.items()
        }
        body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
        request = urllib.request.Request(f"{self._url}:predict", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                outputs = json.loads(answer.read())["outputs"]
            return {name: np.asarray(rows) for name, rows in outputs.items()}
        except urllib.error.HTTPError as error:
            kind = UnavailableError if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE else ServingError
            raise kind(
                f"{self._url}: {error.code} {error.reason}: {_short(error.read().decode(errors='replace'))}"
            ) from None
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise ServingError(f"{self._url}: no answer within {timeout:g} s") from None
            raise UnavailableError(f"{self._url}: {_short(str(reason))}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ServingError(f"{self._url}: the answer is not that of TensorFlow Serving") from None

    def close(self) -> None:
        """Does nothing, as every request has its own connection."""


def _short(text: str | None) -> str:
    return " ".join((text or "").split())[:_LONGEST_REASON]
