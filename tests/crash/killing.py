"""Runs a function in a forked process and kills it: after a time, or at its n-th step towards the disk."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STEPS = ("fsync", "link", "mkdir", "open", "remove", "rename", "replace", "rmdir", "unlink")


class _Counted(sqlite3.Connection):
    """A connection whose statements and commits are steps."""

    step: Callable[[str], None]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        word = sql.split(None, 1)[0].upper()
        if word in ("SELECT", "PRAGMA"):
            return super().execute(sql, *parameters)
        self.step(f"before {word}")
        cursor = super().execute(sql, *parameters)
        self.step(f"after {word}")
        return cursor

    def commit(self) -> None:
        writing = self.in_transaction and self.total_changes
        if writing:
            self.step("before COMMIT")
        super().commit()
        if writing:
            self.step("after COMMIT")


def count_steps(log: Path, kill_at: int | None) -> None:
    """Numbers every step of this process in the log, and dies by SIGKILL at step `kill_at`."""
    taken = 0
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def step(name: str) -> None:
        nonlocal taken
        taken += 1
        os.write(handle, f"{name}\n".encode())
        if taken == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            step(f"before {name}")
            result = function(*arguments, **options)
            step(f"after {name}")
            return result

        return call

    for name in _STEPS:
        setattr(os, name, counted(name, getattr(os, name)))
    shutil.rmtree = counted("rmtree", shutil.rmtree)  # type: ignore[assignment]
    _Counted.step = staticmethod(step)  # type: ignore[assignment]
    connect = sqlite3.connect

    def connect_counted(*arguments: Any, factory: type = sqlite3.Connection, **options: Any) -> sqlite3.Connection:
        counted_factory = type("Counted", (_Counted, factory), {})
        return connect(*arguments, factory=counted_factory, **options)  # type: ignore[no-any-return]

    sqlite3.connect = connect_counted  # type: ignore[assignment]


def in_process(function: Callable[[], None], kill_after: float | None = None) -> bool:
    """Runs a function in a fork of this process.

    Args:
      function: what to run.
      kill_after: seconds until SIGKILL.

    Returns:
      Whether it was killed, and not done before.

    Raises:
      RuntimeError: it raised.
    """
    process = os.fork()
    if process == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError("the process failed; see its traceback")
    return False
