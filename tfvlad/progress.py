"""Progress of work that takes long: a bar on a terminal, or plain lines where a command writes into a file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from tfvlad.printable import printable

_DELAY = 2.0  # seconds of work before anything is shown
_REFRESHED = 0.5  # seconds between two states of a bar
_LINES = 15.0  # seconds between two plain lines
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
        **settings: Any,
    ) -> None:
        self._stopped = threading.Event()
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
                    self.refresh()
                    self.last_print_t = time.time()
            wait = every
