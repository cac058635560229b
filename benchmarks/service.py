"""What does HTTP cost? A service under load, beside its encoder alone.

    python benchmarks/service.py --index I --images DIR [--json OUT] [--rounds 5] [--clients 32] [--seconds 20]
        [--search quick]

Starts `tfvlad serve` on the index, on the loopback address, and sends it the images as multipart forms from one
process. In each round, `Encoder.encode` encodes all images while the service is idle; then the service is asked for all
of them by so many clients at once, which is saturation. Prints both rates, and the median of their ratios within a
round; then the latency of single requests, one after the other, and under half of the saturation's rate, with requests
that do not wait for answers: at even intervals, as k6 and wrk2 send them, and at random (Poisson). Each is done twice:
`quick` compares descriptors only, as `Encoder.encode` is one forward pass; the default search encodes all views and
verifies, and is beside `Encoder.describe_views`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import numpy as np
from timing import parser, print_table, write_json

import tfvlad
from tfvlad.config import QUERY_SCALE, QUERY_VIEWS
from tfvlad.images.listing import image_paths
from tfvlad.images.views import parse_views

_START_SECONDS = 120
Seconds = list[float]


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of search.

    Attributes:
      search: ``quick`` or ``default``.
      encoder_rate: images per second of the encoder alone.
      service_rate: requests per second at saturation.
      ratio: the median, over rounds, of the latter in the former.
      single_ms: the median latency of single requests.
      even_p50_ms: the median latency under half of the load, where requests come at even intervals.
      even_p99_ms: likewise, the 99th percentile.
      random_p50_ms: the median latency under half of the load, where requests come at random.
      random_p99_ms: likewise, the 99th percentile.
      refused: requests that were refused under half of the load, of both kinds.
      connections: that were open under half of the load, at most.
    """

    search: str
    encoder_rate: float
    service_rate: float
    ratio: float
    single_ms: float
    even_p50_ms: float
    even_p99_ms: float
    random_p50_ms: float
    random_p99_ms: float
    refused: int
    connections: int


class Connections:
    """Connections to a service on the loopback address, which are used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.opened = 0

    async def ask(self, request: bytes) -> int:
        """Sends a request; gives the status of the answer, when that has arrived."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            self.opened += 1
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(length)
        self._idle.append((reader, writer))
        return int(head.split()[1])

    def close(self) -> None:
        """Closes them."""
        for _, writer in self._idle:
            writer.close()


def form(data: bytes, quick: bool) -> bytes:
    """A search as the bytes of an HTTP request."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="q"\r\n\r\n' + data + b"\r\n"
    if quick:
        body += b'--b\r\nContent-Disposition: form-data; name="quick"\r\n\r\ntrue\r\n'
    body += b"--b--\r\n"
    head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def saturate(port: int, requests: Sequence[bytes], clients: int) -> float:
    """Requests per second where so many clients ask without a pause, each for what is next."""
    async with _connections(port) as connections:
        waiting = iter(requests)

        async def client() -> None:
            for request in waiting:
                assert await connections.ask(request) == 200

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return len(requests) / (time.perf_counter() - start)


async def one_after_the_other(port: int, requests: Sequence[bytes]) -> Seconds:
    """The latency of each request where there is no other."""
    async with _connections(port) as connections:
        taken = []
        for request in requests:
            start = time.perf_counter()
            assert await connections.ask(request) == 200
            taken.append(time.perf_counter() - start)
        return taken


async def arriving(
    port: int, requests: Sequence[bytes], intervals: Iterator[float], seconds: float
) -> tuple[Seconds, int, int]:
    """Latencies where requests arrive in such intervals; how many were refused; connections.

    A request's time begins when it arrives, whatever the service is doing then.
    """
    async with _connections(port) as connections:
        taken: Seconds = []
        refused = 0

        async def ask(request: bytes, arrived: float) -> None:
            nonlocal refused
            if await connections.ask(request) == 200:
                taken.append(time.perf_counter() - arrived)
            else:
                refused += 1

        tasks = []
        begin = arrival = time.perf_counter()
        for request in itertools.cycle(requests):
            arrival += next(intervals)
            if arrival - begin > seconds:
                break
            await asyncio.sleep(max(0.0, arrival - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(request, arrival)))
        await asyncio.gather(*tasks)
        return taken, refused, connections.opened


@contextlib.asynccontextmanager
async def _connections(port: int) -> AsyncIterator[Connections]:
    connections = Connections(port)
    try:
        yield connections
    finally:
        connections.close()


@contextlib.contextmanager
def running(index: str):  # type: ignore[no-untyped-def]
    """Runs the service, and gives its port when it is ready."""
    command = [sys.executable, "-m", "tfvlad", "serve", f"--index={index}", "--port=0", "--queue=4096"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition("127.0.0.1:")[2].partition("/")[0])
        ready = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        end = time.monotonic() + _START_SECONDS
        while asyncio.run(Connections(port).ask(ready)) != 200:
            if time.monotonic() > end:
                raise TimeoutError("the service does not get ready")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def measure(
    port: int,
    search: str,
    alone: Callable[[Sequence[bytes]], object],
    images: Sequence[bytes],
    rounds: int,
    clients: int,
    seconds: float,
) -> Row:
    """Measures one kind of search beside the encoder's work for it."""
    start = time.perf_counter()
    alone(images)
    alone_rate = len(images) / (time.perf_counter() - start)
    # Enough that the beginning and the end, where not all clients wait, do not matter.
    images = list(itertools.islice(itertools.cycle(images), max(2 * clients, round(seconds * alone_rate))))
    requests = [form(data, search == "quick") for data in images]
    asyncio.run(saturate(port, requests[: 2 * clients], clients))
    encoder_rates, service_rates = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        alone(images)
        encoder_rates.append(len(images) / (time.perf_counter() - start))
        service_rates.append(asyncio.run(saturate(port, requests, clients)))
    rate = float(np.median(service_rates))
    single = asyncio.run(one_after_the_other(port, requests[: max(5, round(rate * seconds / 4))]))
    generator = random.Random(0)
    even, even_refused, connections = asyncio.run(arriving(port, requests, itertools.repeat(2 / rate), seconds))
    at_random, refused, more_connections = asyncio.run(
        arriving(port, requests, iter(lambda: generator.expovariate(rate / 2), None), seconds)
    )
    return Row(
        search,
        float(np.median(encoder_rates)),
        rate,
        float(np.median(np.array(service_rates) / encoder_rates)),
        1000 * float(np.median(single)),
        *(1000 * float(np.percentile(taken, part)) for taken in (even, at_random) for part in (50, 99)),
        even_refused + refused,
        max(connections, more_connections),
    )


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__ or "", rounds=5)
    options.add_argument("--index", required=True, help="an index, whose encoder is used")
    options.add_argument("--images", required=True, help="a folder of images that are not in it")
    options.add_argument("--limit", type=int, default=100, help="images, at most")
    options.add_argument("--clients", type=int, default=32, help="at once, at saturation; one address has 1024 places")
    options.add_argument("--seconds", type=float, default=20, help="of each measurement, about")
    options.add_argument("--search", choices=["quick", "default"], action="append", help="only this kind (both)")
    arguments = options.parse_args()
    images = []
    for path in itertools.islice(image_paths(arguments.images), arguments.limit):
        with open(path, "rb") as file:
            images.append(file.read())
    encoder = tfvlad.Encoder.load(f"{arguments.index}/encoder")
    views = parse_views(QUERY_VIEWS)
    work: dict[str, Callable[[Sequence[bytes]], object]] = {
        "quick": encoder.encode,
        "default": lambda some: sum(1 for _ in encoder.describe_views(some, views, QUERY_SCALE)),
    }
    with running(arguments.index) as port:
        rows = [
            measure(port, search, alone, images, arguments.rounds, arguments.clients, arguments.seconds)
            for search, alone in work.items()
            if search in (arguments.search or work)
        ]
    print_table(
        "service",
        ("search", "encoder/s", "service/s", "ratio", "single ms", "even: p50 ms", "p99 ms", "p99/single",
         "random: p50 ms", "p99 ms", "p99/single", "refused"),
        (
            (
                row.search, f"{row.encoder_rate:.1f}", f"{row.service_rate:.1f}", f"{row.ratio:.3f}",
                f"{row.single_ms:.1f}",
                f"{row.even_p50_ms:.1f}", f"{row.even_p99_ms:.1f}", f"{row.even_p99_ms / row.single_ms:.2f}",
                f"{row.random_p50_ms:.1f}", f"{row.random_p99_ms:.1f}", f"{row.random_p99_ms / row.single_ms:.2f}",
                row.refused,
            )
            for row in rows
        ),
    )  # fmt: skip
    write_json(arguments.json, rows, [])


if __name__ == "__main__":
    main()
