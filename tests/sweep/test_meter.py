"""How long a sweep will still take, on a clock that the test turns."""

from __future__ import annotations

import pytest

from tfvlad.sweep.meter import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tfvlad.sweep.meter.time", clock)
    return clock


def test_each_kind_of_work_has_its_own_speed(clock: Clock) -> None:
    with Meter({"images": 1000.0, "codebooks": 400.0, "rankings": 200.0}) as meter:
        assert meter.seconds_left() == 1600.0  # as planned, while nothing is known
        clock.now += 1000
        meter.advance("images", 500.0)
        # Nearly twice as slow as planned, for all kinds: (1000 + 10) / (500 + 10); for images, with that as the
        # expectation, (1000 + 10 * 1010 / 510) / 510.
        slow = 1010 / 510
        assert meter.seconds_left() == pytest.approx(500 * (1000 + 10 * slow) / 510 + 400 * slow + 200 * slow)
        clock.now += 200
        meter.advance("codebooks", 200.0)  # as planned; all work so far took 1200 seconds for 700
        slow = 1210 / 710
        images, codebooks = (1000 + 10 * slow) / 510, (200 + 10 * slow) / 210
        assert meter.seconds_left() == pytest.approx(500 * images + 200 * codebooks + 200 * slow)


def test_a_slow_beginning_says_little(clock: Clock) -> None:
    with Meter({"images": 100.0}) as meter:
        clock.now += 10  # the network is traced, kernels are compiled
        meter.advance("images", 1.0)
        assert meter.seconds_left() < 3 * 99  # not ten times


def test_what_an_earlier_sweep_has_done_takes_no_time(clock: Clock) -> None:
    with Meter({"images": 100.0}) as meter:
        meter.skip("images", 60.0)
        assert meter.seconds_left() == 40.0
        clock.now += 10
        meter.advance("images", 10.0)
        assert meter.seconds_left() == 30.0


def test_more_work_than_was_planned_leaves_none(clock: Clock) -> None:
    with Meter({"images": 1.0}) as meter:
        clock.now += 3
        meter.advance("images", 2.0)
        assert meter.seconds_left() == 0.0
