"""Refusals: why a request is not answered, as one line and a status, and how errors of the library become such."""

from __future__ import annotations

import logging

from starlette.responses import JSONResponse, Response

from tfvlad.errors import ArtifactError, ConfigError, ImageError, ServingError, TfvladError

_log = logging.getLogger(__name__)

SOON = 1  # seconds, after which a request that found no place may come again
LATER = 5


class RefusalError(Exception):
    """A request that is not answered.

    Attributes:
      status: the HTTP status.
      reason: one line that says what is wrong and what would be right; nothing of this machine is in it.
      retry_after: seconds; None where the same request will be refused again.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    def response(self) -> Response:
        """The answer: ``{"error": reason}``."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status in (408, 413):  # the rest of the body is not wanted
            headers["Connection"] = "close"
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="tfvlad"'
        return JSONResponse({"error": self.reason}, self.status, headers)


def refusal_of(error: TfvladError) -> RefusalError:
    """What a client is told of an error of the library; paths of this machine stay in the log."""
    if isinstance(error, ImageError):
        reason = error.reason.partition("; --")[0]  # flags are no help to a client
        if error.path in ("<bytes>", "<array>"):
            return RefusalError(422, f"the picture cannot be used: {reason}")
        _log.warning("%s", error)
        return RefusalError(404, f"the indexed file cannot be shown: {reason}")
    _log.warning("%s", error)
    if isinstance(error, ConfigError):
        return RefusalError(400, "the index cannot be searched in this way; the service's log says why")
    if isinstance(error, ServingError):
        return RefusalError(503, "the model server that encodes pictures does not answer", LATER)
    if isinstance(error, ArtifactError):
        return RefusalError(503, "the index cannot be read at the moment; the service's log says why", LATER)
    return RefusalError(500, "the request failed; the service's log says why")
