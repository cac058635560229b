"""How long a sweep will still take: one bar for all of it, in time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Literal

from tqdm import tqdm

Kind = Literal["images", "codebooks", "timings", "rankings"]  # work that goes at one speed
Seconds = Mapping[Kind, float]  # of work, as it would take on the machine that `workload` was written on

_TRUST = 10.0  # planned seconds of work that weigh as much as what was expected
_FORMAT = "{percentage:3.0f}%|{bar:24}| {elapsed} gone, {remaining} left: {desc}"


class Meter:
    """Learns how fast each kind of work goes here, and shows what is left where standard error is a terminal.

    What was done before, by a sweep that was stopped, is work that is not left; it took no time.
    """

    def __init__(self, planned: Seconds) -> None:
        """Takes all the work of the sweep."""
        self._left = dict(planned)
        self._done: dict[Kind, float] = dict.fromkeys(planned, 0.0)
        self._spent: dict[Kind, float] = dict.fromkeys(planned, 0.0)
        self._start = self._last = time.monotonic()
        self._bar = tqdm(None, bar_format=_FORMAT, total=1.0, disable=None, delay=2, smoothing=0, leave=False)

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def at(self, step: str) -> None:
        """Says what is being done."""
        self._bar.set_description_str(step, refresh=False)
        self._show()

    def skip(self, kind: Kind, work: float) -> None:
        """Takes away work that need not be done."""
        self._left[kind] = max(0.0, self._left[kind] - work)

    def advance(self, kind: Kind, work: float) -> None:
        """Notes that so much is done, in the time since the last of any kind."""
        now = time.monotonic()
        self._done[kind] += work
        self._spent[kind] += now - self._last
        self._last = now
        self.skip(kind, work)
        self._show()

    def seconds_left(self) -> float:
        """What is left, at the speed that each kind of work has had here; as long as it has had little, at that of all
        kinds."""
        overall = _slowness(sum(self._spent.values()), sum(self._done.values()), 1.0)
        return sum(left * _slowness(self._spent[kind], self._done[kind], overall) for kind, left in self._left.items())

    def _show(self) -> None:
        gone = time.monotonic() - self._start
        self._bar.total = gone + self.seconds_left()
        self._bar.update(gone - self._bar.n)


def _slowness(spent: float, done: float, expected: float) -> float:
    """Seconds that a planned second takes: as expected before there is any evidence, of which a little says little."""
    return (spent + _TRUST * expected) / (done + _TRUST)
