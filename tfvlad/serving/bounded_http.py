"""One HTTP request whose answer is bounded: in bytes before it is read, and in seconds from its first to its last byte.

`urllib` bounds neither: its timeout starts anew with each byte that comes.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfvlad.serving._outputs import UnavailableError, quoted

__all__ = ["Answer", "TooLongError", "UnavailableError", "ask"]

_PIECE = 2**16  # bytes that are sent or received between two looks at the clock
_LONGEST_ERROR = 4096  # bytes of the text that comes with an error


class Answer(NamedTuple):
    """What a server answered.

    Attributes:
      status: HTTP's number.
      reason: what the server calls it.
      body: of an error, only the beginning.
      location: where a redirect leads.
    """

    status: int
    reason: str
    body: bytes
    location: str | None = None


class TooLongError(Exception):
    """An answer of more bytes than may be read."""


def ask(url: str, body: bytes | None, headers: Mapping[str, str], most: int, until: float) -> Answer:
    """Sends a request and returns the answer. Redirects are not followed; proxies are those of the environment.

    Args:
      url: ``http://`` or ``https://``.
      body: what is posted; None gets what is there.
      headers: of the request.
      most: bytes of the answer's body that may be read.
      until: when it must be there, as `time.monotonic` tells it: for looking up the name, connecting, sending and
        receiving together.

    Raises:
      TimeoutError: it is not.
      TooLongError: the body is longer. It has been read no further than that, and not at all if its length was told.
      UnavailableError: the server cannot be reached, does not speak HTTP, or closed the connection too early.
    """
    try:
        request = urllib.request.Request(url, body, dict(headers))
    except ValueError as error:
        raise UnavailableError(quoted(str(error))) from None
    opener = urllib.request.OpenerDirector()  # the usual one would follow redirects, and open files
    for handler in (urllib.request.ProxyHandler(), _HttpHandler(), _HttpsHandler()):
        opener.add_handler(handler)
    try:
        with opener.open(request, timeout=_left(until)) as answer:
            if answer.status == http.HTTPStatus.OK:
                return Answer(answer.status, answer.reason, _read(answer, most))
            return Answer(answer.status, answer.reason, _beginning(answer), answer.headers.get("Location"))
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise TimeoutError from None
        raise UnavailableError(quoted(str(reason) or type(reason).__name__)) from None


def _read(answer: Any, most: int) -> bytes:
    if answer.length is not None and answer.length > most:
        raise TooLongError
    body = bytearray()
    while piece := answer.read1(min(_PIECE, most + 1 - len(body))):
        body += piece
        if len(body) > most:
            raise TooLongError
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return bytes(body)


def _beginning(answer: Any) -> bytes:
    body = bytearray()
    with contextlib.suppress(OSError, http.client.HTTPException):  # the status alone tells what is wrong
        while len(body) < _LONGEST_ERROR and (piece := answer.read1(_LONGEST_ERROR - len(body))):
            body += piece
    return bytes(body)


def _left(until: float) -> float:
    """The seconds that are left.

    Raises:
      TimeoutError: there are none.
    """
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError
    return left


class _Timed(http.client.HTTPConnection):
    """A connection whose timeout is for everything from its making to the last byte of the answer."""

    def __init__(self, host: str, /, *, timeout: float = 60.0, **options: Any) -> None:
        super().__init__(host, timeout=timeout, **options)
        self._until = time.monotonic() + timeout
        self._create_connection = self._connected  # what HTTPConnection connects with

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _TimedSocket(self.sock, self._until)

    def _connected(self, address: tuple[str, int], *_: Any) -> socket.socket:
        """Connects to the first of the host's addresses that answers."""
        found = _addresses(*address, _left(self._until))
        for position, (family, kind, protocol, _, place) in enumerate(found):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(_left(self._until) / (len(found) - position))
                connection.connect(place)
                connection.settimeout(_left(self._until))  # for the handshake of TLS
            except OSError:
                connection.close()
                if position == len(found) - 1:
                    raise
            else:
                return connection
        raise OSError(f"{address[0]} has no address")


class _TimedTls(_Timed, http.client.HTTPSConnection):
    pass


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Timed, request)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_TimedTls, request)


class _TimedSocket:
    """As much of a socket as `http.client` uses; it sends and receives until a point in time."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self._until = connection, until

    def sendall(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            self._connection.settimeout(_left(self._until))
            self._connection.sendall(data[start : start + _PIECE])

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection, self._until))

    def close(self) -> None:
        self._connection.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self._until = connection, until
        self._file = connection.makefile("rb", buffering=0)  # keeps the connection open until it is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(_left(self._until))
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _addresses(host: str, port: int, seconds: float) -> list[Any]:
    """Looks up a host's addresses. The system's look-up cannot be interrupted, so it is left behind when it is slow."""
    found: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=look_up, daemon=True, name="tfvlad-look-up").start()
    try:
        addresses = found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(addresses, OSError):
        raise addresses
    return addresses
