"""What waits for the encoder is encoded together, and every caller gets its own."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder

from tfvlad.errors import ImageError, ServingError
from tfvlad.images.views import WHOLE, parse_views
from tfvlad.service.admission import Slots
from tfvlad.service.encoder_queue import EncoderQueue


class HeldEncoder(FakeEncoder):
    """Waits before each batch until it may go on, and notes the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.batches: list[int] = []

    def encode_stream(self, sources: Iterable[bytes]) -> Iterator[Any]:
        sources = list(sources)
        self.begun.release()
        assert self.may.acquire(timeout=20)
        self.batches.append(len(sources))
        if b"server" in sources:
            raise ServingError("the server is away")
        for source in sources:
            yield ImageError("<bytes>", "bad") if source == b"bad" else self.describe(source)


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


@pytest.fixture
def queue(encoder: HeldEncoder) -> Iterator[EncoderQueue]:
    made = EncoderQueue(encoder)
    yield made
    for _ in range(100):
        encoder.may.release()
    made.close()


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(100) as made:
        yield made


def wait_for(queue: EncoderQueue, count: int) -> None:
    for _ in range(2000):
        if len(queue) == count:
            return
        threading.Event().wait(0.005)
    raise AssertionError(len(queue))


def test_what_comes_while_the_encoder_works_goes_together(
    encoder: HeldEncoder, queue: EncoderQueue, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    first = pool.submit(queue.encode, [b"first"])
    assert encoder.begun.acquire(timeout=20)  # nothing waits for a batch to fill
    contents = [f"{number}".encode() for number in range(70)]
    futures = [pool.submit(queue.encode, [content]) for content in contents]
    wait_for(queue, 70)
    for _ in range(3):
        encoder.may.release()
    for content, future in zip(contents, futures, strict=True):
        np.testing.assert_array_equal(future.result(20), encoder.describe(content)[None])
    assert len(first.result(20)) == 1
    assert encoder.batches == [1, 64, 6]


def test_an_error_is_that_of_its_own_picture(
    encoder: HeldEncoder, queue: EncoderQueue, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    pool.submit(queue.encode, [b"x"])
    assert encoder.begun.acquire(timeout=20)
    good, bad = pool.submit(queue.encode, [b"good"]), pool.submit(queue.encode, [b"bad"])
    wait_for(queue, 2)
    for _ in range(2):
        encoder.may.release()
    assert good.result(20).shape == (1, 8)
    with pytest.raises(ImageError, match="bad"):
        bad.result(20)


def test_an_encoder_that_fails_fails_for_all_of_the_batch_and_goes_on(
    encoder: HeldEncoder, queue: EncoderQueue, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    for _ in range(9):
        encoder.may.release()
    for _ in range(3):
        with pytest.raises(ServingError, match="away"):
            pool.submit(queue.encode, [b"server"]).result(20)
    assert pool.submit(queue.encode, [b"good"]).result(20).shape == (1, 8)


def test_other_work_is_not_mixed_in() -> None:
    encoder = FakeEncoder()
    queue = EncoderQueue(encoder)
    views = parse_views("rotations:2")
    [both] = queue.describe_views([b"a"], views)
    [described] = queue.describe_stream([b"a"])
    assert not isinstance(both, ImageError)
    assert not isinstance(described, ImageError)
    assert both.views == views
    np.testing.assert_array_equal(both.descriptors[views.index(WHOLE)], described.descriptor)
    assert (queue.dim, queue.fingerprint, queue.max_pixels) == (encoder.dim, encoder.fingerprint, encoder.max_pixels)
    queue.close()


def test_who_waits_when_it_is_closed_is_told_so(encoder: HeldEncoder) -> None:
    queue = EncoderQueue(encoder)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        begun = pool.submit(queue.encode, [b"begun"])
        assert encoder.begun.acquire(timeout=20)
        late = pool.submit(queue.encode, [b"late"])
        wait_for(queue, 1)
        closing = pool.submit(queue.close)
        with pytest.raises(concurrent.futures.CancelledError):
            late.result(20)
        encoder.may.release()
        assert begun.result(20).shape == (1, 8)
        closing.result(20)
    with pytest.raises(ValueError, match="closed"):
        queue.encode([b"after"])


def test_a_thread_that_waits_lends_its_slot(encoder: HeldEncoder, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    slots = Slots(1)
    queue = EncoderQueue(encoder, slots.lent)

    def work() -> tuple[int, ...]:
        with slots.held():
            return queue.encode([b"a"]).shape

    pool.submit(queue.encode, [b"x"])
    assert encoder.begun.acquire(timeout=20)
    futures = [pool.submit(work) for _ in range(5)]
    wait_for(queue, 5)  # all wait for the encoder, and none for the one slot
    for _ in range(9):
        encoder.may.release()
    assert [future.result(20) for future in futures] == [(1, 8)] * 5
    queue.close()
