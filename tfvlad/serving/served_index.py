"""An index that a running ``tfvlad serve`` searches, asked from Python; nothing here imports TensorFlow."""

from __future__ import annotations

import http
import json
import secrets
import time
from typing import Any

from tfvlad.errors import ConfigError, ImageError, ServingError
from tfvlad.index import Hit
from tfvlad.serving._outputs import quoted
from tfvlad.serving.bounded_http import Answer, TooLongError, UnavailableError, ask

_SECONDS = 150.0  # a service answers within 120 of its own, or says that it cannot
_MOST_BYTES = 16 * 2**20  # of an answer; a thousand hits take some 300 kB
_OF_THE_PICTURE = (http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, http.HTTPStatus.UNPROCESSABLE_ENTITY)


class ServedIndex:
    """Asks a running ``tfvlad serve``, whose network is loaded already, so that a search takes no longer than there.

    Args:
      url: of the service, such as ``http://127.0.0.1:8000``.
      index: the name of one of its indexes; None is the first one.
      token: what the service wants of those who ask, if it does.

    Raises:
      ConfigError: the URL is none.

    Example:
      >>> with open("query.jpg", "rb") as file:
      ...     hits = ServedIndex("http://127.0.0.1:8000").search(file.read(), k=5)
    """

    def __init__(self, url: str, index: str | None = None, token: str | None = None) -> None:
        if not url.startswith(("http://", "https://")) or not url.isprintable() or " " in url:
            raise ConfigError(f"a service's URL is like http://127.0.0.1:8000, got {url!r}")
        self._url = url.rstrip("/")
        self._index = index
        self._token = token

    def search(
        self,
        image: bytes,
        k: int = 10,
        *,
        box: tuple[float, float, float, float] | None = None,
        verify: int | None = None,
        expand: int = 0,
        name: str = "<bytes>",
    ) -> list[Hit]:
        """Searches for an image, as `tfvlad.Index.search` does.

        Args:
          image: the bytes of an image file.
          k: the number of hits.
          box: the part that is searched for: x, y, width and height in pixels of the upright image.
          verify: images of the shortlist to verify; None is the index's own number.
          expand: see `tfvlad.Index.search`.
          name: of the image in errors.

        Returns:
          The hits, the best first. Their paths begin with the name of the indexed folder, on the service's machine.

        Raises:
          ImageError: the service cannot use the image.
          ConfigError: the service does not take the request.
          ServingError: the service cannot be reached, has too much to do, or answers nonsense.
        """
        fields = {"k": k, "verify": verify, "expand": expand, "index": self._index}
        if box is not None:
            fields["box"] = ",".join(map(str, box))
        answer = self._post(
            "/v1/search", image, {name: str(value) for name, value in fields.items() if value is not None}
        )
        if answer.status != http.HTTPStatus.OK:
            self._refuse(answer, name)
        try:
            return [_as_hit(told) for told in json.loads(answer.body)["hits"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ServingError(f"{self._url}: the answer is not that of a tfvlad service") from None

    def _post(self, path: str, image: bytes, fields: dict[str, str]) -> Answer:
        boundary = secrets.token_hex(16)
        parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
        body = b"".join(f"--{boundary}\r\n{part}\r\n".encode() for part in parts)
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="query"\r\n\r\n'.encode()
        body += image + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return ask(self._url + path, body, headers, _MOST_BYTES, time.monotonic() + _SECONDS)
        except TimeoutError:
            raise ServingError(f"{self._url}: no answer within {_SECONDS:g} s") from None
        except TooLongError:
            raise ServingError(f"{self._url}: the answer is too long for that of a tfvlad service") from None
        except UnavailableError as error:
            raise ServingError(f"{self._url}: {error}") from None

    def _refuse(self, answer: Answer, name: str) -> None:
        try:
            reason = quoted(json.loads(answer.body)["error"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ServingError(f"{self._url}: {answer.status} {quoted(answer.reason)}") from None
        if answer.status in _OF_THE_PICTURE:
            raise ImageError(name, reason)
        if answer.status < http.HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != http.HTTPStatus.TOO_MANY_REQUESTS:
            raise ConfigError(f"{self._url}: {reason}")
        raise ServingError(f"{self._url}: {reason}")


def _as_hit(told: dict[str, Any]) -> Hit:
    hit = Hit(str(told["path"]), float(told["score"]), int(told["id"]))
    hit.inliers, hit.verdict, hit.probability = told["inliers"], told["verdict"], told["probability"]
    hit.view, hit.query_view = told["view"], told["query_view"]
    hit.box = None if told["box"] is None else tuple(told["box"])
    return hit
