"""Clients that do not do what clients should: open connections, send half of something, and wait.

Run as a script, it is a load: ``python tests/service/slow_clients.py http://127.0.0.1:8000 --clients 1000``. It keeps
so many of them while one good client asks again and again, and says how long that one waits with and without them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Sequence

_FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'

# What a client sends before it waits.
HALVES = {
    "nothing": b"",
    "half a head": b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-",
    "no body": b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n" + _FORM + b"Content-Length: 100000\r\n\r\n",
    "half a body": b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n" + _FORM + b"Content-Length: 100000\r\n\r\n"
    + _PART + b"\xff\xd8\xff" * 10_000,
    "half a chunk": b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\n" + _FORM
    + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + _PART,
}  # fmt: skip


@contextlib.asynccontextmanager
async def waiting(port: int, count: int, kinds: Sequence[str] = tuple(HALVES)) -> AsyncIterator[list[float]]:
    """Keeps so many clients that wait, for the length of a block.

    Yields:
      The seconds after which the service ended each connection; it grows.
    """
    ended: list[float] = []

    async def wait(kind: str) -> None:
        start = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(HALVES[kind])
            await writer.drain()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            ended.append(time.monotonic() - start)
        finally:
            writer.close()

    tasks = [asyncio.create_task(wait(kinds[number % len(kinds)])) for number in range(count)]
    try:
        yield ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def seconds_of_a_request(port: int, count: int) -> list[float]:
    """How long each of so many searches takes, one after the other, by the id of an indexed image."""
    body = b'{"id": 1, "k": 3}'
    request = (
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    taken = []
    for _ in range(count):
        start = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request + body)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        taken.append(time.monotonic() - start)
    return taken


async def _measure(port: int, clients: int, requests: int) -> None:
    alone = await seconds_of_a_request(port, requests)
    async with waiting(port, clients) as ended:
        await asyncio.sleep(2)
        beside = await seconds_of_a_request(port, requests)
        for name, taken in (("alone", alone), (f"beside {clients} that wait", beside)):
            print(f"{name}: median {1000 * statistics.median(taken):.1f} ms, most {1000 * max(taken):.1f} ms")
        while len(ended) < clients:
            await asyncio.sleep(0.5)
        print(f"all {clients} were ended by the service, after {min(ended):.1f} to {max(ended):.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=100)
    given = parser.parse_args()
    asyncio.run(_measure(int(given.url.rstrip("/").rpartition(":")[2]), given.clients, given.requests))
