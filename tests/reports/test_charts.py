"""Charts: round ticks, values where they belong, and nothing written over anything else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvlad.reports.charts import (
    PLOT,
    Axis,
    Chart,
    Point,
    Series,
    drawn,
    linear,
    logarithmic,
    names,
    numbered,
    slanted,
    written,
)

UNIT = Axis("", 0.0, 1.0, [])
LEFT, TOP, WIDTH, HEIGHT = PLOT


def drawing_of(*points: Point, joined: bool = True) -> tuple[list[str], list[Point]]:
    series = Series("", points, 0, joined=joined)
    drawing = drawn(Chart("", UNIT, UNIT, [series]), series)
    return drawing.lines, [mark.point for mark in drawing.marks]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.1, 3.9], ["0", "1", "2", "3", "4"]),
        ([0.71, 0.79], ["0.70", "0.72", "0.74", "0.76", "0.78", "0.80"]),
        ([float("nan")], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_are_round(values: list[float], labels: list[str]) -> None:
    assert [label for _, label in linear("", values).ticks] == labels


finite = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(st.lists(finite, min_size=1, max_size=20))
def test_every_value_lies_on_its_axis(values: list[float]) -> None:
    axis = linear("", values)
    assert all(-1e-6 <= axis.place(value) <= 1 + 1e-6 for value in values)
    assert 2 <= len(axis.ticks) <= 12


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=20))
def test_a_logarithmic_axis_holds_its_values_with_room_between_ticks(values: list[float]) -> None:
    axis = logarithmic("", values)
    assert all(0 <= axis.place(value) <= 1 for value in values)
    assert 1 <= len(axis.ticks) <= 12
    assert all(0 <= axis.place(tick) <= 1 for tick, _ in axis.ticks)


def test_few_values_are_ticks_themselves() -> None:
    assert [label for _, label in logarithmic("", [32, 128, 51200]).ticks] == ["32", "128", "51.2k"]
    assert [label for _, label in logarithmic("", range(10, 1001)).ticks] == [
        "10",
        "20",
        "50",
        "100",
        "200",
        "500",
        "1k",
    ]


def test_values_are_written_short() -> None:
    assert [written(value) for value in (0.5, 20, 1000, 204_800, 3e6)] == ["0.5", "20", "1k", "205k", "3M"]


def test_many_names_are_thinned_and_long_ones_stand_upright() -> None:
    axis = names("layer", [f"block{n}_conv" for n in range(60)])
    assert len(axis.ticks) == 20
    assert slanted(axis)
    assert not slanted(names("layer", ["a", "b"]))
    assert axis.place(0.0) == pytest.approx(0.5 / 60)


def test_points_are_placed_and_missing_ones_break_the_line() -> None:
    gap = Point(0.5, math.nan)
    lines, marks = drawing_of(Point(0, 0), Point(0.25, 1), gap, Point(0.75, 0.5), Point(1, 1), gap, Point(1, 0))
    assert lines == [
        f"{LEFT:.1f},{TOP + HEIGHT:.1f} {LEFT + WIDTH / 4:.1f},{TOP:.1f}",
        f"{LEFT + 0.75 * WIDTH:.1f},{TOP + HEIGHT / 2:.1f} {LEFT + WIDTH:.1f},{TOP:.1f}",
    ]
    assert gap not in marks
    assert len(marks) == 5
    assert drawing_of(Point(0, 0), Point(1, 1), joined=False)[0] == []


def test_numbers_do_not_stand_on_each_other() -> None:
    points = [Point(0, 0, number=1), Point(0.01, 0.01, number=2), Point(0.5, 0.5, number=3), Point(1, 1)]
    series = Series("", points, 0)
    marks = drawn(Chart("", UNIT, UNIT, [series]), series).marks
    assert [mark.point.number for mark in numbered(marks)] == [1, 3]
