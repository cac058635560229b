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
    with Meter({"images": 10.0, "codebooks": 4.0, "rankings": 2.0}) as meter:
        assert meter.seconds_left() == 16.0  # as planned, while nothing is known
        clock.now += 10
        meter.advance("images", 5.0)  # twice as slow as planned, and so the others are expected to be
        assert meter.seconds_left() == 2 * 5 + 2 * 4 + 2 * 2
        clock.now += 2
        meter.advance("codebooks", 2.0)  # as planned; all work so far took 12 seconds for 7
        assert meter.seconds_left() == pytest.approx(2 * 5 + 1 * 2 + 12 / 7 * 2)


def test_what_an_earlier_sweep_has_done_takes_no_time(clock: Clock) -> None:
    with Meter({"images": 10.0}) as meter:
        meter.skip("images", 6.0)
        assert meter.seconds_left() == 4.0
        clock.now += 6
        meter.advance("images", 2.0)
        assert meter.seconds_left() == 6.0


def test_more_work_than_was_planned_leaves_none(clock: Clock) -> None:
    with Meter({"images": 1.0}) as meter:
        clock.now += 3
        meter.advance("images", 2.0)
        assert meter.seconds_left() == 0.0
