"""Servers that are broken or hostile: whatever they answer is an honest descriptor or one line of `ServingError`."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tfvlad
from tfvlad.encoding.interface import Description
from tfvlad.errors import ConfigError, ServingError

pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")

import grpc
from helpers import hostile_servers
from helpers.hostile_servers import DIM, FINGERPRINT, SIGNATURE, Arrays, as_json, as_proto, honest, http_answer
from tensorflow_serving.apis import predict_pb2

from tfvlad.serving.client import RemoteEncoder

IMAGES = [b"one", b"two"]
BIG = 300_000_000  # bytes
ROW = "[1.0, 0, 0, 0]"


def ended(url: str, **options: Any) -> str:
    """The one line in which the encoding of two images ends."""
    remote = RemoteEncoder(url, **{"timeout": 20.0, "attempts": 1, **options})
    with pytest.raises(ServingError) as caught:
        remote.encode(IMAGES)
    return one_line(caught.value, url)


def one_line(error: Exception, url: str) -> str:
    assert str(error).startswith(url)
    assert str(error).isprintable()
    assert len(str(error)) < 600
    return str(error)


@contextlib.contextmanager
def serving(kind: str, answer: Callable[[str, int], Arrays]) -> Iterator[str]:
    """Serves arrays over REST or gRPC."""
    if kind == "rest":
        with hostile_servers.http_server(lambda *asked: http_answer(as_json(answer(*asked)))) as url:
            yield url
    else:
        with hostile_servers.grpc_server(lambda *asked: as_proto(answer(*asked))) as url:
            yield url


def changed(signature: str, /, **arrays: Any) -> Callable[[str, int], Arrays]:
    """An honest server but for some outputs of one signature; None leaves an output out."""

    def answer(asked: str, count: int) -> Arrays:
        told = honest(asked, count)
        if asked == signature:
            told = {name: array for name, array in {**told, **arrays}.items() if array is not None}
        return told

    return answer


@pytest.fixture(params=["rest", "grpc"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_honest_answer_is_taken(kind: str) -> None:
    with serving(kind, honest) as url:
        remote = RemoteEncoder(url)
        np.testing.assert_array_equal(remote.encode(IMAGES), np.eye(2, DIM))
        assert remote.encode(IMAGES).dtype == np.float32
        assert (remote.fingerprint, remote.dim) == (FINGERPRINT, DIM)


def rows(*values: float) -> np.ndarray:
    return np.array([[1, 0, 0, 0], values], np.float32)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"descriptor": rows(0, 0, 0, 0)}, "descriptor 2 of 2 has the length 0, not 1"),
        ({"descriptor": rows(1000, 0, 0, 0)}, "descriptor 2 of 2 has the length 1e+03, not 1"),
        ({"descriptor": rows(3e38, 3e38, 0, 0)}, "has the length inf, not 1"),
        ({"descriptor": rows(np.nan, 1, 0, 0)}, "NaN"),
        ({"descriptor": rows(1, np.inf, 0, 0)}, "nfinit"),
        ({"descriptor": np.eye(2, 5, dtype=np.float32)}, "descriptor has "),
        ({"descriptor": np.eye(3, 4, dtype=np.float32)}, "descriptor has "),
        ({"descriptor": np.ones(4, np.float32)}, "descriptor "),
        ({"descriptor": np.array([["1.0", "0", "0", "0"]] * 2)}, "descriptor has "),
        ({"descriptor": None}, "there is no output 'descriptor'"),
        ({"valid": np.array(["yes", "no"])}, "valid has "),
        ({"valid": np.ones(2, np.int32)}, "valid has "),
        ({"valid": np.ones((2, 1), bool)}, "valid "),
        ({"more\x1b[31m": np.ones(2, np.int32)}, r"there is an output 'more\x1b[31m'"),
    ],
)
def test_arrays_that_are_no_descriptors_are_refused(kind: str, outputs: dict[str, Any], reason: str) -> None:
    with serving(kind, changed(SIGNATURE, **outputs)) as url:
        assert reason in ended(url)


@pytest.mark.parametrize(
    "outputs",
    [
        {"dim": np.array([0], np.int32)},
        {"dim": np.array([-4], np.int32)},
        {"dim": np.array([2**24 + 1], np.int32)},
        {"dim": np.array([4.0], np.float32)},
        {"dim": np.array(["4"])},
        {"dim": np.array([4, 4], np.int32)},
        {"dim": np.zeros(0, np.int32)},
        {"fingerprint": np.array(["../../etc"])},
        {"fingerprint": np.array([FINGERPRINT.upper()])},
        {"fingerprint": np.array([FINGERPRINT[:-1]])},
        {"fingerprint": np.array([7], np.int32)},
        {"signature": np.array(["serving_default"])},
        {"signature": np.array([f"a\n{SIGNATURE}"])},
        {"signature": None},
        {"label": np.array(["x" * 1025])},
    ],
)
def test_a_server_must_say_what_it_is_in_due_form(kind: str, outputs: dict[str, Any]) -> None:
    with serving(kind, changed("info", **outputs)) as url:
        assert "exported encoder" in ended(url)


def test_dimensions_that_an_answer_in_json_cannot_have_are_refused() -> None:
    with serving("rest", changed("info", dim=np.array([2**24], np.int32))) as url:
        assert "descriptors of 16777216 dimensions are too long for REST" in ended(url)


def cells(*shape: int) -> np.ndarray:
    return np.full(shape, shape[-1] ** -0.5, np.float32)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"grid": np.array([[2, 4]], np.int32)}, "not within their array"),
        ({"grid": np.array([[-1, 3]], np.int32)}, "not within their array"),
        ({"grid": np.array([[0, 3]], np.int32)}, "not within their array"),
        ({"grid": np.array([2, 3], np.int32)}, "grid "),
        ({"features": cells(2, 2, 3, 8)}, "features has "),
        ({"features": cells(1, 2, 24)}, "features "),
        ({"features": 3 * cells(1, 2, 3, 8)}, "of other lengths than 1 and 0"),
        ({"features": np.full((1, 2, 3, 8), np.nan, np.float32)}, "NaN"),
        ({"fingerprint": None}, "do not come together"),
        ({"descriptor": np.zeros((1, DIM), np.float32)}, "has the length 0"),
    ],
)
def test_arrays_that_are_no_local_features_are_refused(
    kind: str, outputs: dict[str, Any], reason: str, photograph: Path
) -> None:
    with serving(kind, changed("local_features", **outputs)) as url:
        with pytest.raises(ServingError) as caught:
            list(RemoteEncoder(url).describe_stream([photograph]))
        assert reason in one_line(caught.value, url)


def test_the_number_of_channels_may_not_change(kind: str, photograph: Path) -> None:
    channels = itertools.count(8)

    def answer(signature: str, count: int) -> Arrays:
        told = honest(signature, count)
        return {**told, "features": cells(count, 2, 3, next(channels))} if "features" in told else told

    with serving(kind, answer) as url:
        remote = RemoteEncoder(url, batch=1)
        first = next(remote.describe_stream([photograph]))
        assert isinstance(first, Description)
        assert first.features.shape == (2, 3, 8)
        with pytest.raises(ServingError, match="local features have 9 channels, and had 8 before"):
            list(remote.describe_stream([photograph]))


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"outputs"',
        b'{"outputs": [[1, 0, 0, 0], [0, 1, 0, 0]]}',
        b'{"predictions": [{}]}',
        b'{"outputs": {"descriptor": ' + b"[" * 4000,
        b'{"outputs": ' + b'{"a":' * 700 + b"1" + b"}" * 701,
        b"\xff\xfe{",
        b'{"outputs": {"descriptor": [ROW, ROW], "valid": [true, true], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, ROW], "valid": [true, true]}, "outputs": {}}',
        b'{"outputs": {"descriptor": [ROW, [1e400, 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [NaN, 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [-Infinity, 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [1' + b"0" * 400 + b', 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [1' + b"0" * 4400 + b', 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, ["1.0", 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [true, 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [{}, 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [null, 0, 0, 1]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [[1], 0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, [1.0, 0, 0]], "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, ROW], "valid": [1, 1]}}',
        b'{"outputs": {"descriptor": {"0": ROW, "1": ROW}, "valid": [true, true]}}',
        b'{"outputs": {"descriptor": [ROW, ROW], "valid": [true, true]}',
    ],
)
def test_json_that_is_no_answer_is_refused(body: bytes) -> None:
    body = body.replace(b"ROW", ROW.encode())

    def answer(signature: str, count: int) -> bytes:
        return http_answer(as_json(honest("info", 1)) if signature == "info" else body)

    with hostile_servers.http_server(answer) as url:
        assert "the answer is not that of an exported encoder: " in ended(url)


def response(**fields: Any) -> bytes:
    """An answer whose descriptor has these fields of a TensorProto."""
    message = predict_pb2.PredictResponse.FromString(as_proto(honest(SIGNATURE, 2)))
    tensor = message.outputs["descriptor"]
    shape = fields.pop("shape", None)
    for name, value in fields.items():
        if isinstance(value, list):
            tensor.ClearField("tensor_content")
            getattr(tensor, name)[:] = value
        else:
            setattr(tensor, name, value)
    if shape is not None:
        del tensor.tensor_shape.dim[:]
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
    return bytes(message.SerializeToString(deterministic=True))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff" * 40,
        b"no protobuf",
        b"\x0a\x00" * 1000,
        b"\x0a\x05\x0a\xff\xff\xff\xff",
        b"\x0b\x0c",
        as_proto(honest(SIGNATURE, 2))[:-3],
        as_proto(honest(SIGNATURE, 2)) * 2,
        response(shape=(600_000_000, 4)),
        response(shape=(2**40, 2**40)),
        response(shape=(-1, 4)),
        response(shape=(-2, -4)),
        response(shape=()),
        response(shape=(1,) * 300),
        response(dtype=2),
        response(dtype=7),
        response(dtype=20),
        response(dtype=21),
        response(dtype=99),
        response(float_val=[1.0] * 9),
        response(tensor_content=b"\0" * 31),
        predict_pb2.PredictResponse().SerializeToString(),
    ],
    ids=lambda message: f"{len(message)} bytes",
)
def test_protobuf_that_is_no_answer_is_refused(message: bytes) -> None:
    def answer(signature: str, count: int) -> bytes:
        return as_proto(honest("info", 1)) if signature == "info" else message

    with hostile_servers.grpc_server(answer) as url:
        assert "the answer is not that of an exported encoder: " in ended(url)


def test_a_tensor_may_leave_out_the_values_that_repeat() -> None:
    half = [0.5]

    def answer(signature: str, count: int) -> bytes:
        return as_proto(honest("info", 1)) if signature == "info" else response(float_val=half)

    with hostile_servers.grpc_server(answer) as url:
        np.testing.assert_array_equal(RemoteEncoder(url).encode(IMAGES), np.full((2, 4), 0.5))


def zeros() -> Iterator[bytes]:
    yield from itertools.repeat(b"0" * 2**20, BIG // 2**20)


def told_length() -> Iterator[bytes]:
    yield http_answer(b"", "200 OK", f"Content-Length: {BIG}")
    yield from zeros()


def chunks() -> Iterator[bytes]:
    yield http_answer(b"", "200 OK", "Transfer-Encoding: chunked")
    for piece in zeros():
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def until_closed() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    yield from zeros()


@pytest.mark.parametrize("answer", [told_length, chunks, until_closed])
@pytest.mark.parametrize("signature", ["info", SIGNATURE])
def test_a_long_answer_over_rest_is_not_read(answer: Callable[[], Iterator[bytes]], signature: str) -> None:
    def answers(asked: str, count: int) -> bytes | Iterator[bytes]:
        return answer() if asked == signature else http_answer(as_json(honest(asked, count)))

    with hostile_servers.http_server(answers) as url, bounded_memory():
        assert "bytes, and is not read" in ended(url)


def test_a_long_answer_over_grpc_is_not_read() -> None:
    big = response(tensor_content=b"\0" * 50_000_000)

    def answer(signature: str, count: int) -> bytes:
        return as_proto(honest("info", 1)) if signature == "info" else big

    with hostile_servers.grpc_server(answer) as url:
        assert "RESOURCE_EXHAUSTED" in ended(url)


def test_a_compressed_answer_over_grpc_is_not_unpacked() -> None:
    """A limit on what comes over the wire says nothing of what it unpacks to."""
    big = response(tensor_content=b"\0" * 100_000_000)

    def answer(signature: str, count: int) -> bytes:
        return as_proto(honest("info", 1)) if signature == "info" else big

    with (
        hostile_servers.grpc_server(answer, compression=grpc.Compression.Gzip) as url,
        bounded_memory(),
    ):
        ended(url)


@contextlib.contextmanager
def bounded_memory(most: int = 4_000_000) -> Iterator[None]:
    """Checks what Python allocates inside the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 500 Oh\r\n\r\n"]
)
def test_a_byte_now_and_then_does_not_hold_the_client(first: bytes) -> None:
    def drip(signature: str, count: int) -> Iterator[bytes]:
        yield b"HTTP/1.1" * bool(first) + first
        while True:
            time.sleep(0.02)
            yield b"H"

    with hostile_servers.http_server(drip) as url:
        start = time.monotonic()
        said = ended(url, timeout=0.5, attempts=5)
        assert time.monotonic() - start < 2
        assert "no answer within 0.5 s" in said or "500 Oh" in said


def test_the_timeout_is_for_all_attempts_together() -> None:
    def refuse(signature: str, count: int) -> Iterator[bytes]:
        time.sleep(0.2)
        yield http_answer(b"loading", "503 Service Unavailable")

    with hostile_servers.http_server(refuse) as url:
        start = time.monotonic()
        said = ended(url, timeout=0.8, attempts=100)
        assert time.monotonic() - start < 2
        assert "503" in said or "no answer within 0.8 s" in said


@pytest.mark.parametrize("url", ["grpc://127.0.0.1:{}/m", "http://127.0.0.1:{}/v1/models/m"])
@pytest.mark.parametrize("drip", [b"\0", b""])
def test_a_server_of_another_protocol_does_not_hold_the_client(url: str, drip: bytes) -> None:
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while not stopped.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    threading.Thread(target=send, args=(connection,), daemon=True).start()

        def send(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while not stopped.wait(0.05):
                    connection.sendall(drip)

        threading.Thread(target=accept, daemon=True).start()
        start = time.monotonic()
        ended(url.format(server.getsockname()[1]), timeout=0.5)
        assert time.monotonic() - start < 3
        stopped.set()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(status: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(as_json(honest("info", 1)))
    for place in (f"file://{tmp_path}/secret", "http://127.0.0.1:9/elsewhere", "ftp://127.0.0.1/x"):
        with hostile_servers.http_server(lambda *_, to=place: http_answer(b"", status, f"Location: {to}")) as url:
            assert ended(url).endswith(f"{status}: a redirect, which is not followed")


def test_what_a_server_says_is_quoted_on_one_line_of_bounded_length() -> None:
    said = "\x1b[31mred\r\nforged row\x07\u202egnp.exe\x9b" + "x" * 100_000
    with hostile_servers.http_server(lambda *_: http_answer(said.encode(), "400 Bad\x1b]0;title\x07")) as url:
        line = ended(url)
    assert r": 400 Bad\x1b]0;title\x07: \x1b[31mred forged row\x07\u202egnp.exe\x9bxxx" in line

    def refuse(signature: str, count: int) -> bytes:
        raise hostile_servers.RefusalError(said[:100])

    with hostile_servers.grpc_server(refuse) as url:
        assert r"INVALID_ARGUMENT: \x1b[31mred forged row\x07\u202egnp.exe\x9bxxx" in ended(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcdefgh",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        struct.pack("<IQ", 0, 2**60),
    ],
)
def test_http_that_is_none_is_one_line(answer: bytes) -> None:
    with hostile_servers.http_server(lambda *_: answer) as url:
        ended(url)


@pytest.mark.parametrize(
    "url", ["http://host:port/v1/models/m", "http://[::1/v1/models/m", "http:///v1/models/m", "http://h/v1/models/ü m"]
)
def test_urls_that_cannot_be_asked_are_refused_before(url: str) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a served encoder"):
        RemoteEncoder(url)


def test_an_index_keeps_what_came_before_the_server_went_wrong(tmp_path: Path, kind: str) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(8):
        Image.new("RGB", (20 + number, 20), "red").save(photos / f"{number}.png")
    requests = itertools.count()

    def answer(signature: str, count: int) -> Arrays:
        told = honest(signature, count)
        return {**told, "descriptor": 1000 * told["descriptor"]} if next(requests) > 3 else told

    with (
        serving(kind, answer) as url,
        tfvlad.Index.create(tmp_path / "index", RemoteEncoder(url, batch=1)) as index,
    ):
        with pytest.raises(ServingError, match=r"has the length 1e\+03, not 1"):
            index.sync(photos)
        assert 1 <= len(index) <= 3
