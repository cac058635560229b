"""Slow, broken and greedy clients cost the others nothing; a service that is told to end answers what it has begun."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.service_process import ServiceProcess
from helpers.services import asked, picture, settings

from tfvlad.service.server import listen

spec = importlib.util.spec_from_file_location("slow_clients", Path(__file__).with_name("slow_clients.py"))
assert spec is not None
assert spec.loader is not None
slow_clients = importlib.util.module_from_spec(spec)
sys.modules["slow_clients"] = slow_clients
spec.loader.exec_module(slow_clients)


@pytest.fixture(scope="module")
def running(served_index: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess({"pictures": str(served_index)}, body_seconds=3.0) as service:
        yield service


def test_clients_that_never_finish_are_ended_and_cost_the_others_nothing(running: ServiceProcess) -> None:
    async def measure() -> tuple[list[float], list[float]]:
        before = running.memory()
        async with slow_clients.waiting(running.port, 200, ("no body", "half a body", "half a chunk")) as ended:
            await asyncio.sleep(0.5)
            taken = await slow_clients.seconds_of_a_request(running.port, 20)
            assert running.memory() - before < 100 * 2**20
            while len(ended) < 200:
                await asyncio.sleep(0.1)
            return taken, ended

    taken, ended = asyncio.run(asyncio.wait_for(measure(), 120))
    assert len(taken) == 20
    assert len(ended) == 200


def test_answers_do_not_wait_for_the_client_to_confirm_what_came_before() -> None:
    with listen("127.0.0.1", 0) as opened, socket.create_connection(opened.getsockname()):
        opened.setblocking(True)
        accepted, _ = opened.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_head_that_never_comes(running: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as half, \
            socket.create_connection(("127.0.0.1", running.port)) as empty:  # fmt: skip
        half.sendall(slow_clients.HALVES["half a head"])
        start = time.monotonic()
        for connection in (half, empty):
            connection.settimeout(60)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
        assert time.monotonic() - start > 2


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 70_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"Connection: close\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999999999999999\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/images/1/thumbnail HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Connection: close\r\n\r\n",
    ],
)
def test_what_is_no_http(running: ServiceProcess, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.settimeout(12)
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
            answer = b""
            while more := connection.recv(65536):
                answer += more
            assert not answer.startswith(b"HTTP/1.1 5")
    assert httpx.get(f"{running.url}/healthz").status_code == 200


def test_a_client_that_takes_no_answers(running: ServiceProcess) -> None:
    connections = []
    for _ in range(30):
        connection = socket.create_connection(("127.0.0.1", running.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /v1/images/1/thumbnail HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100):
                connection.send(request * 20)
        connections.append(connection)
    assert len(asyncio.run(asyncio.wait_for(slow_clients.seconds_of_a_request(running.port, 10), 60))) == 10
    for connection in connections:
        connection.close()
    assert httpx.get(f"{running.url}/healthz").status_code == 200


class SlowEncoder(FakeEncoder):
    """Takes its time for each picture."""

    seconds = 0.5

    def describe_views(self, sources: Any, *arguments: Any, **others: Any) -> Any:
        for result in super().describe_views(sources, *arguments, **others):
            time.sleep(self.seconds)
            yield result


def test_a_full_queue_refuses_at_once_and_others_are_not_starved(served_index: Path) -> None:
    with asked({"i": str(served_index)}, settings(places=8, threads=8), SlowEncoder) as client:

        def ask(seed: int) -> Any:
            return client.post("/v1/search", files={"file": picture(1000 + seed)})

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses.count(200) >= 2
        assert set(statuses) == {200, 429}  # one client may have a quarter of the places
        for answer in answers:
            assert answer.status_code == 200 or int(answer.headers["retry-after"]) >= 1


def test_all_places_are_taken() -> None:
    from tfvlad.service.admission import Places
    from tfvlad.service.refusals import RefusalError

    places = Places(8)
    with contextlib.ExitStack() as stack:
        for client in "aabbccdd":
            stack.enter_context(places.take(client))
        with pytest.raises(RefusalError) as refused:
            stack.enter_context(places.take("e"))
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
        assert places.taken == 8
    assert places.taken == 0


def test_an_answer_that_takes_too_long(served_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowEncoder, "seconds", 3.0)
    with asked({"i": str(served_index)}, settings(answer_seconds=1.5), SlowEncoder) as client:
        late = client.post("/v1/search", files={"file": picture(1000)})
        assert (late.status_code, "Retry-After" in late.headers) == (503, True)
        assert "no answer within 1.5 seconds" in late.json()["error"]
        assert client.post("/v1/search", json={"id": 1}).status_code == 200


def test_bodies_share_their_memory(served_index: Path) -> None:
    from starlette.requests import Request

    from tfvlad.service.bodies import Bodies
    from tfvlad.service.refusals import RefusalError

    def request(client: str, size: int) -> Request:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        scope = {"type": "http", "method": "POST", "headers": [], "client": (client, 1), "path": "/"}
        return Request(scope, receive)

    async def fill() -> None:
        bodies = Bodies(10, 40, 1.0)
        async with contextlib.AsyncExitStack() as stack:
            for client in "abcd":
                assert len(await stack.enter_async_context(bodies.received(request(client, 10)))) == 10
                with pytest.raises(RefusalError) as refused:
                    await stack.enter_async_context(bodies.received(request(client, 1)))
                assert refused.value.status == (429 if client != "d" else 503)
            with pytest.raises(RefusalError) as refused:
                await stack.enter_async_context(bodies.received(request("e", 1)))
            assert refused.value.status == 503
        async with bodies.received(request("e", 10)) as body:
            assert len(body) == 10

    asyncio.run(fill())


def test_work_of_a_client_that_has_gone_is_not_begun(served_index: Path) -> None:
    from tfvlad.service.admission import ClientGoneError, Workers

    async def leave() -> list[str]:
        workers, did = Workers(1, "test"), []

        async def gone() -> None:
            await asyncio.sleep(0.1)

        async def stays() -> None:
            await asyncio.sleep(10)

        first = asyncio.create_task(workers.run(lambda: (time.sleep(0.4), did.append("first")), 5, stays()))
        await asyncio.sleep(0.05)
        with pytest.raises(ClientGoneError):
            await workers.run(lambda: did.append("second"), 5, gone())
        await first
        await workers.run(lambda: did.append("third"), 5, stays())
        workers.close()
        return did

    assert asyncio.run(leave()) == ["first", "third"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(served_index: Path, how: signal.Signals) -> None:
    with ServiceProcess({"i": str(served_index)}, body_seconds=3.0) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as slow:
            body = b'{"id": 1, "k": 3}'
            slow.sendall(
                b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            time.sleep(0.3)
            service.process.send_signal(how)
            time.sleep(0.3)
            slow.sendall(body)  # it was under way
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert service.end(how)[0] in (0, -how)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/healthz")
