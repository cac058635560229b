"""Charts of any data: where axes, lines and marks lie in an SVG, which ``charts.html.j2`` draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

WIDTH = 480  # width of a chart, in the units of its view box; the page scales it
PLOT = (60.0, 22.0, 404.0, 264.0)  # left, top, width and height of the plot in the chart
TICK_WIDTH = 8.0  # width of a character of the axes' labels
LABELS = 24  # most names along an axis; of more, every second, third, ... is written
TICKS_APART = 0.09  # least distance of the ticks of a logarithmic axis, as a share of its length
ROOM = 16.0  # least distance between the numbers of marks


class Axis(NamedTuple):
    """An axis of a chart.

    Attributes:
      label: what the axis measures.
      low: value at its beginning.
      high: value at its end.
      ticks: values that are marked, and how they are written.
      logarithmic: whether equal ratios have equal lengths.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Returns where a value lies: 0 at the beginning of the axis, 1 at its end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


class Point(NamedTuple):
    """A point of a series.

    Attributes:
      x: value along the lower axis.
      y: value along the left axis.
      low: lower end of its interval; NaN for no interval.
      high: upper end of its interval.
      about: text that a reader sees who points at it.
      number: a number that is written beside it; 0 for none.
      hollow: whether it is drawn as an outline.
    """

    x: float
    y: float
    low: float = math.nan
    high: float = math.nan
    about: str = ""
    number: int = 0
    hollow: bool = False


class Series(NamedTuple):
    """Points with one colour, one kind of mark and one entry in the legend.

    Attributes:
      name: its name in the legend.
      points: the points in the order in which a line joins them; where y is NaN, the line is broken.
      colour: number of its colour, from 0.
      dashed: whether its line is dashed.
      joined: whether a line joins the points.
      marked: whether the points are marked.
    """

    name: str
    points: Sequence[Point]
    colour: int
    dashed: bool = False
    joined: bool = True
    marked: bool = True


class Chart(NamedTuple):
    """A chart.

    Attributes:
      title: what it shows; screen readers read it out.
      x: the lower axis.
      y: the left axis.
      series: the series in the order in which they are drawn.
    """

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]


class Mark(NamedTuple):
    """A point, and its position in the drawing in units of the view box."""

    x: float
    y: float
    low: float
    high: float
    point: Point


class Drawing(NamedTuple):
    """The drawing of a series, in units of the view box.

    Attributes:
      lines: the points of each polyline, as SVG writes them.
      marks: the points, with the ends of their intervals; NaN for no interval.
    """

    lines: list[str]
    marks: list[Mark]


def linear(label: str, values: Iterable[float], high: float = math.inf) -> Axis:
    """Makes an axis with round ticks that starts at 0, unless all values lie far from 0.

    Args:
      label: what the axis measures.
      values: the values that it must hold; those that are not finite are left out.
      high: a value that the axis does not go beyond, such as 1 for a share.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    least, most = min(0.0, *known) if min(known) < max(known) / 2 else min(known), max(known)
    step = _round_step((most - least) / 5 or abs(most) / 5 or 0.2)
    first, last = math.floor(least / step + 1e-9), math.ceil(min(most, high) / step - 1e-9)
    first, last = (first - 1, last) if first >= last else (first, last)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [(n * step, f"{n * step:.{decimals}f}") for n in range(first, last + 1)]
    return Axis(label, first * step, last * step, ticks)


def logarithmic(label: str, values: Iterable[float]) -> Axis:
    """Makes a logarithmic axis.

    Its ticks are the values themselves where there are few, else 1, 2 and 5 times the powers of ten, or these powers
    alone.

    Args:
      label: what the axis measures.
      values: the values that it must hold; those that are not positive and finite are left out.
    """
    known = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    low, high = min(known) / 1.15, max(known) * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**n for n in decades for factor in (1, 2, 5)]
    axis = Axis(label, low, high, [], logarithmic=True)
    inside = [tick for tick in ticks if low <= tick <= high]
    powers = [tick for tick in inside if round(math.log10(tick), 6).is_integer()]
    for chosen in (sorted(set(known)), inside, powers):
        if chosen and all(axis.place(b) - axis.place(a) >= TICKS_APART for a, b in itertools.pairwise(chosen)):
            return axis._replace(ticks=[(tick, written(tick)) for tick in chosen])
    return axis._replace(ticks=[(tick, written(tick)) for tick in (min(known), max(known))])


def names(label: str, of: Sequence[str]) -> Axis:
    """Makes an axis with one place for each name, from 0; of many names only some are written.

    Args:
      label: what the names stand for.
      of: the names in order.
    """
    each = math.ceil(len(of) / LABELS)
    return Axis(label, -0.5, len(of) - 0.5, [(float(n), of[n]) for n in range(0, len(of), each)])


def written(value: float) -> str:
    """Writes a positive value in few characters: ``0.5``, ``20``, ``5k``, ``2M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def drawn(chart: Chart, series: Series) -> Drawing:
    """Computes where the lines and marks of one of the chart's series lie."""
    marks = [_mark(chart, point) for point in series.points]
    pieces: list[list[Mark]] = [[]]
    for mark in marks:
        if math.isnan(mark.y):
            pieces.append([])
        else:
            pieces[-1].append(mark)
    lines = [polyline((mark.x, mark.y) for mark in piece) for piece in pieces if len(piece) > 1]
    return Drawing(lines if series.joined else [], [mark for mark in marks if not math.isnan(mark.y)])


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Writes points as an SVG polyline takes them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def below(axis: Axis) -> float:
    """Returns the height that the labels of the lower axis need: one line, or the longest name written upwards."""
    longest = max((len(label) for _, label in axis.ticks), default=0)
    return 16 + longest * TICK_WIDTH if slanted(axis) else 22.0


def slanted(axis: Axis) -> bool:
    """Returns whether the labels of the lower axis are too long to stand side by side."""
    longest = max((len(label) for _, label in axis.ticks), default=0)
    return longest * TICK_WIDTH > PLOT[2] / max(1, len(axis.ticks)) - 4


def numbered(marks: Iterable[Mark]) -> list[Mark]:
    """Returns the marks whose numbers can be written without overlap; earlier marks go first."""
    kept: list[Mark] = []
    for mark in marks:
        if mark.point.number and all(math.hypot(mark.x - k.x, mark.y - k.y) >= ROOM for k in kept):
            kept.append(mark)
    return kept


def _mark(chart: Chart, point: Point) -> Mark:
    left, top, width, height = PLOT
    y, low, high = (top + height * (1 - chart.y.place(value)) for value in (point.y, point.low, point.high))
    return Mark(left + width * chart.x.place(point.x), y, low, high, point)


def _round_step(step: float) -> float:
    """Rounds up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


FILTERS: Mapping[str, Callable[..., object]] = {  # the Jinja filters of ``charts.html.j2``
    "drawn": drawn,
    "below": below,
    "slanted": slanted,
    "numbered": numbered,
    "written": written,
}
