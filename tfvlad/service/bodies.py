"""Bodies of requests: read in bounded time, size and memory, whatever the client does, and taken apart."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from tfvlad.service.admission import ClientGoneError
from tfvlad.service.refusals import SOON, RefusalError

_FIELDS = 16  # of a form
_FIELD_BYTES = 1024
_AT_ONCE = 2**18  # bytes
_SHARE = 4  # one client has this part of the memory for bodies


class Bodies:
    """Reads bodies; what all of them hold together is bounded. It belongs to one event loop."""

    def __init__(self, largest: int, together: int, seconds: float) -> None:
        """See the class.

        Args:
          largest: bytes of one body.
          together: bytes of all bodies that are being received or worked on; one client has a quarter of them.
          seconds: in which a body must have arrived.
        """
        self._largest = largest
        self._together = together
        self._of_one = max(largest, together // _SHARE)
        self._seconds = seconds
        self._held: collections.Counter[str] = collections.Counter()  # bytes by client

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytes]:
        """Gives a request's body for the length of a block.

        Raises:
          RefusalError: it is too large, or too slow, or there is no memory left for it.
          ClientGoneError: the client has gone before it was complete.
        """
        self._check_announced(request.headers.get("content-length"))
        client = client_of(request)
        held = 0
        try:
            chunks = []
            try:
                async with asyncio.timeout(self._seconds):
                    async for chunk in request.stream():
                        if held + len(chunk) > self._largest:
                            raise self._too_large()
                        if self._held.total() + len(chunk) > self._together:
                            raise RefusalError(503, "too many large requests at once; try again soon", SOON)
                        if self._held[client] + len(chunk) > self._of_one:
                            raise RefusalError(429, "too many large requests of one client at once", SOON)
                        held += len(chunk)
                        self._held[client] += len(chunk)
                        chunks.append(chunk)
            except TimeoutError:
                raise RefusalError(408, f"the request did not arrive within {self._seconds:g} seconds") from None
            except ClientDisconnect:
                raise ClientGoneError from None
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._held[client] -= held
            if self._held[client] <= 0:
                del self._held[client]

    def _check_announced(self, length: str | None) -> None:
        if length is not None and int(length) > self._largest:  # h11 lets nothing pass but digits
            raise self._too_large()

    def _too_large(self) -> RefusalError:
        return RefusalError(413, f"a request may have {self._largest / 2**20:.3g} MiB; send a smaller picture")


def client_of(request: Request) -> str:
    """The address that a request comes from; behind a proxy on this machine, the one that the proxy names."""
    return request.client.host if request.client else ""


async def read_form(body: bytes, content_type: str) -> FormData:
    """Parses a ``multipart/form-data`` body; nothing is written to the disk.

    Raises:
      RefusalError: it is no such body, or has too many parts.
    """

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), _AT_ONCE):
            yield body[start : start + _AT_ONCE]
            await asyncio.sleep(0)  # others are answered meanwhile

    class InMemory(MultiPartParser):
        spool_max_size = len(body) + 1

    headers = Headers({"content-type": content_type})
    parser = InMemory(headers, chunks(), max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    try:
        return await parser.parse()
    except MultiPartException as error:
        reason = " ".join(error.message.split()).rstrip(".")
        raise RefusalError(400, f"the form cannot be read: {reason}"[:300]) from None
    except Exception as error:  # what a parser raises at bytes that it does not expect
        raise RefusalError(400, "the form cannot be read: it is no multipart/form-data") from error
