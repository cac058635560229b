"""Random mutations of a model server's honest answers, which it sends to a `RemoteEncoder`.

    python tests/fuzz/fuzz_served_answers.py --mutations 10002 --seed 0

They are made of the JSON in an answer over REST, of the whole answer with its headers, and of the message over gRPC.
Each ends as descriptors that an encoder could have given, or as one `ServingError` or `MismatchError` of one line. The
memory of the process may grow by 200 MB at most, and no request may take longer than its timeout.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import itertools
import json
import random
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parents[1]))
from helpers import hostile_servers
from helpers.hostile_servers import SIGNATURE, as_json, as_proto, honest, http_answer
from tensorflow_serving.apis import predict_pb2

from tfvlad.encoding.interface import Description
from tfvlad.errors import MismatchError, ServingError
from tfvlad.serving.client import RemoteEncoder

SIGNATURES = ("info", SIGNATURE, "local_features")
TIMEOUT = 10.0  # seconds
GROWTH = 200  # MB

Mutation: TypeAlias = Callable[[bytes, random.Random], bytes]

_VALUES = (
    "1e400", "-1e39", "1" + "0" * 400, "NaN", "Infinity", "null", "true", '"1.0"', "{}", "[]", "[[[[1]]]]", "-0", "0.5",
    "[" * 2000, '{"a":' * 500, "1e-400", "2147483648", "16777217", '"\\ud800"', '"\\u001b[31m"', "1" + "0" * 5000,
)  # fmt: skip


def flip(data: bytes, generator: random.Random) -> bytes:
    """Changes some bits."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def cut(data: bytes, generator: random.Random) -> bytes:
    """Leaves out a piece, at the end or anywhere."""
    start, end = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    return data[:start] if generator.random() < 0.5 else data[:start] + data[end:]


def repeat(data: bytes, generator: random.Random) -> bytes:
    """Repeats a piece many times."""
    start = generator.randrange(len(data))
    end = start + generator.randrange(1, 30)
    return data[:end] + data[start:end] * generator.choice((1, 10, 1000, 100_000)) + data[end:]


def swap_value(data: bytes, generator: random.Random) -> bytes:
    """Replaces a value of JSON by another kind of value."""
    ends = [position for position, byte in enumerate(data) if byte in b",[]{}:"]
    start, end = generator.choice(list(itertools.pairwise(ends)))
    return data[: start + 1] + generator.choice(_VALUES).encode() + data[end:]


def reshape(data: bytes, generator: random.Random) -> bytes:
    """Gives the arrays of JSON other lengths and other names."""
    outputs = json.loads(data)["outputs"]
    name = generator.choice(list(outputs))
    rows = outputs[name]
    change = generator.randrange(5)
    if change == 0:
        outputs[name] = rows * generator.choice((0, 2, 1000))
    elif change == 1:
        outputs[name] = [rows]
    elif change == 2:
        outputs[generator.choice(list(outputs))] = outputs.pop(name)
    elif change == 3:
        outputs[name] = {str(position): row for position, row in enumerate(rows)}
    else:
        outputs["more"] = rows
    return json.dumps(generator.choice(({"outputs": outputs}, outputs, {"outputs": [outputs]}))).encode()


def lie(data: bytes, generator: random.Random) -> bytes:
    """Changes the type, the shape or the values of a tensor, as protobuf allows it."""
    response = predict_pb2.PredictResponse.FromString(data)
    tensor = response.outputs[generator.choice(list(response.outputs))]
    change = generator.randrange(5)
    if change == 0:
        tensor.dtype = generator.choice((0, 1, 2, 3, 4, 7, 9, 10, 14, 19, 20, 21, 99, 101))
    elif change == 1:
        del tensor.tensor_shape.dim[generator.randrange(len(tensor.tensor_shape.dim)) :]
        for _ in range(generator.randrange(4)):
            tensor.tensor_shape.dim.add(size=generator.choice((-1, 0, 1, 2, 4, 600_000_000, 2**40, -(2**63))))
    elif change == 2:
        tensor.tensor_content = generator.randbytes(generator.choice((0, 1, 4, 32, 768, 100_000)))
    elif change == 3:
        numbers = [float("nan"), float("inf"), 0.0, 1000.0, 3e38, 1e-45, -1.0, 0.5]
        tensor.ClearField("tensor_content")
        tensor.float_val[:] = [generator.choice(numbers) for _ in range(generator.choice((0, 1, 8, 10_000)))]
    else:
        tensor.ClearField("tensor_content")
        tensor.int_val[:] = [generator.choice((0, 1, -1, 2**31 - 1, 2**24 + 1)) for _ in range(generator.randrange(5))]
    return bytes(response.SerializeToString())


def rewrite(data: bytes, generator: random.Random) -> bytes:
    """Overwrites some bytes with numbers of the machine, with nothing, or with noise."""
    packed = struct.pack("<d", generator.choice((float("nan"), float("inf"), 1e300, 0.0, 5e-324)))
    new = generator.choice((packed, b"\xff" * 8, b"\0" * 16, generator.randbytes(12), b"\x0a\x00" * 500))
    start = generator.randrange(len(data))
    return data[:start] + new + data[start + len(new) :]


MUTATIONS: dict[str, list[Mutation]] = {
    "rest": [flip, cut, repeat, swap_value, swap_value, reshape, rewrite],
    "http": [flip, cut, repeat, rewrite],
    "grpc": [flip, cut, repeat, lie, lie, lie, rewrite],
}


ENCODINGS: dict[str, Callable[[hostile_servers.Arrays], bytes]] = {
    "rest": as_json,
    "http": lambda arrays: http_answer(as_json(arrays)),
    "grpc": as_proto,
}


def photograph() -> bytes:
    """A small image: its size is read here, whatever the server makes of it."""
    file = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def server(kind: str, answer: Callable[[str, int], bytes]) -> Iterator[str]:
    """Serves answers of one kind."""

    def over_http(signature: str, count: int) -> bytes:
        return answer(signature, count) if kind == "http" else http_answer(answer(signature, count))

    serve = hostile_servers.grpc_server(answer) if kind == "grpc" else hostile_servers.http_server(over_http)
    with serve as url:
        yield url


def run(kind: str, mutations: int, seed: int) -> collections.Counter[str]:
    """Makes so many mutations of one kind of answer, and counts how they end."""
    generator = random.Random(seed)
    encode = ENCODINGS[kind]
    mutated: list[Any] = [None, b""]  # the signature whose answer is replaced, and by what

    def answer(signature: str, count: int) -> bytes:
        return mutated[1] if signature == mutated[0] else encode(honest(signature, count))

    ends: collections.Counter[str] = collections.Counter()
    images = [photograph()] * 2
    with server(kind, answer) as url:
        for number in range(mutations):
            signature, mutate = SIGNATURES[number % 3], generator.choice(MUTATIONS[kind])
            count = 1 if signature == "info" or (kind != "grpc" and signature == "local_features") else 2
            mutated[:] = signature, mutate(encode(honest(signature, count)), generator)
            remote = RemoteEncoder(url, timeout=TIMEOUT, attempts=1)
            start = time.monotonic()
            try:
                end = ended(remote, images, describe=signature == "local_features", url=url)
            except Exception as error:
                raise AssertionError(f"{kind} {number} {mutate.__name__}: {mutated[1][:300]!r}") from error
            remote.close()
            assert time.monotonic() - start < TIMEOUT + 2
            ends[f"{mutate.__name__}: {end}"] += 1
    return ends


def ended(remote: RemoteEncoder, images: list[bytes], describe: bool, url: str) -> str:
    """How the encoding of images ends; anything but an honest result or one line raises."""
    try:
        found = list(remote.describe_stream(images) if describe else remote.encode_stream(images))
    except (ServingError, MismatchError) as error:
        check(str(error), url)
        return "ServingError" if isinstance(error, ServingError) else "MismatchError"
    assert len(found) == len(images)
    for result in found:
        if isinstance(result, Description):
            lengths = np.linalg.norm(result.features, axis=2)
            assert result.features.dtype == np.float32
            assert (np.isclose(lengths, 1, atol=0.011) | np.isclose(lengths, 0, atol=0.011)).all()
        if not isinstance(result, Exception):
            row = result.descriptor if isinstance(result, Description) else result
            assert (row.shape, row.dtype) == ((remote.dim,), np.float32)
            assert abs(np.linalg.norm(row) - 1) < 0.011
    return "result"


def check(line: str, url: str) -> None:
    """Makes sure that an error's text is one line that names the URL."""
    assert line.startswith(url)
    assert line.isprintable()
    assert len(line) < 600


def peak() -> int:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Runs over all kinds of answers and prints how each kind of mutation ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_002)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for kind in MUTATIONS:
        run(kind, 3, arguments.seed)  # what is loaded once counts to nobody
    before = peak()
    for kind in MUTATIONS:
        ends = run(kind, arguments.mutations // len(MUTATIONS), arguments.seed)
        for end, count in sorted(ends.items()):
            print(f"{kind} {end:28} {count:6}")
    print(f"memory: {peak() - before} MB more than {before} MB")
    assert peak() - before < GROWTH


if __name__ == "__main__":
    main()
