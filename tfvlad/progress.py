"""Progress of work that takes long: a bar on a terminal, or plain lines where a command writes into a file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from tfvlad.printable import printable

# What `Progress` may say of a network's work.
FASTER = (
    "An earlier layer, a smaller image size or a smaller network is faster, and a GPU much faster: see "
    "docs/guides/performance.md"
)

_DELAY = 2.0  # seconds of work before anything is shown
_REFRESHED = 0.5  # seconds between two states of a bar
_LINES = 15.0  # seconds between two plain lines
_LONG = 120.0  # seconds that are left, from which on it is said what would be faster
_PLAIN = "{desc}: {n_fmt} of {total_fmt}{unit}, {rate_fmt}, {elapsed} so far, {remaining} left"
_WITHOUT_TOTAL = "{desc}: {elapsed} so far"

_plain_lines = False


def show_plain_lines() -> None:
    """Shows progress as lines where standard error is no terminal; otherwise nothing is shown there.

    Commands call this. A program that uses the library decides for itself what it prints.
    """
    global _plain_lines
    _plain_lines = True


class Progress(tqdm):  # type: ignore[type-arg]
    """A progress bar that appears after two seconds of work, whether or not the first piece of it is done by then.

    Args:
      iterable: what is worked on, or None where `update` is called for each piece.
      desc: what is being done.
      total: how many pieces there are; where it is None, only the time is shown.
      unit: what a piece is, with a space before it.
      if_long: one line, shown once, where the first pieces tell that more than two minutes are left.

    Example:
      >>> for image in Progress(images, "Encoding", len(images)):
      ...     encode(image)
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: float | None = None,
        unit: str = " images",
        if_long: str | None = None,
        **settings: Any,
    ) -> None:
        self._stopped = threading.Event()
        self._if_long = if_long
        stream: TextIO | None = settings.get("file", sys.stderr)
        self._as_lines = _plain_lines and stream is not None and not stream.isatty()
        if total is None:
            settings.setdefault("bar_format", _WITHOUT_TOTAL)
        elif self._as_lines:
            settings.setdefault("bar_format", _PLAIN)
        settings = {"disable": False if self._as_lines else None, "delay": _DELAY, **settings}
        every = _LINES if self._as_lines else _REFRESHED
        settings |= {"unit": unit, "mininterval": every, "maxinterval": every}
        super().__init__(iterable, None if desc is None else printable(desc), total, **settings)
        if not self.disable:
            threading.Thread(target=self._keep_showing, args=(every,), name="tfvlad-progress", daemon=True).start()

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Writes the present state; tqdm calls this."""
        if not self._as_lines:
            return super().display(msg, pos)
        print(msg or str(self), file=self.fp, flush=True)
        return True

    def close(self) -> None:
        """Stops showing progress; a bar that was shown stays as it is."""
        self._stopped.set()
        if self._as_lines:
            self.leave = False  # tqdm would write the last state twice, and an empty line
            self.disable = True
        super().close()

    def _keep_showing(self, every: float) -> None:
        wait = _DELAY
        while not self._stopped.wait(wait):
            with self.get_lock():  # type: ignore[no-untyped-call]
                if not self._stopped.is_set():
                    self._say_if_long()
                    self.refresh()
                    self.last_print_t = time.time()
            wait = every

    def _say_if_long(self) -> None:
        done, seconds = self.n - self.initial, time.time() - self.start_t
        if self._if_long is None or not self.total or done <= 0:
            return
        left = (self.total - self.n) * seconds / done
        if left > _LONG:
            rate, minutes = done / seconds, round(left / 60)
            line = f"About {minutes} more minutes at {rate:.{0 if rate >= 10 else 1}f}{self.unit}/s. {self._if_long}"
            self.write(line, file=self.fp, nolock=True)
            self._if_long = None
