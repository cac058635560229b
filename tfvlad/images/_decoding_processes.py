"""Asks other processes to decode pictures, so that a crash, a hang or a bomb ends one of them and not this one.

The first request starts a process, which is kept for the next ones. A process that ends, or takes too long, is replaced
when it is needed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any, BinaryIO

from tfvlad.errors import ImageError, PassingImageError
from tfvlad.images._decoding_process import Message, read_message, write_message

SECONDS = 60.0  # for one picture; of a hundred megapixels, the slowest libraries take twenty
MOST = min(os.cpu_count() or 1, 4)  # processes

# Threads, and what the C library sets aside for each, take address space, of which there is a limit.
_FEW = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class DecodingProcesses:
    """Some processes that answer requests, each one at a time; callers on several threads wait for a free one.

    Args:
      most: processes at once.
      seconds: time in which a request must be answered.
      module: whose `main` the processes run, see `tfvlad.images._decoding_process`.
    """

    def __init__(
        self, most: int = MOST, seconds: float = SECONDS, module: str = "tfvlad.images._decoding_process"
    ) -> None:
        self._free = threading.BoundedSemaphore(most)
        self._idle: list[_Process] = []
        self._seconds = seconds
        self._module = module

    def ask(self, name: str, head: dict[str, Any], body: bytes) -> Message:
        """Asks for something, and waits for the answer.

        Args:
          name: of the picture, for messages.
          head: what is asked for.
          body: the picture's file.

        Raises:
          ImageError: it cannot be decoded, or the process did not survive it.
          PassingImageError: there is no process, or somebody else ended it.
        """
        with self._free:
            process = self._take(name)
            answer = process.ask(head | {"seconds": self._seconds}, body, self._seconds)
            if isinstance(answer, str):
                error = PassingImageError if process.was_ended_by_others else ImageError
                raise error(name, answer)
            if process.is_alive:  # else it was answering while its time ended
                self._idle.append(process)
        if "reason" in answer[0]:
            error = PassingImageError if answer[0].get("passing") else ImageError
            raise error(name, answer[0]["reason"])
        return answer

    def close(self) -> None:
        """Ends the processes that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _take(self, name: str) -> _Process:
        with contextlib.suppress(IndexError):
            while True:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                process.close()
        try:
            return _Process(self._module)
        except OSError as error:
            reason = f"the process that would decode it cannot be started: {error.strerror}"
            raise PassingImageError(name, reason) from None


class _Process:
    def __init__(self, module: str) -> None:
        start = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _FEW,
        )
        self._ended_here = False

    @property
    def is_alive(self) -> bool:
        return not self._ended_here and self._process.poll() is None

    @property
    def was_ended_by_others(self) -> bool:
        """Whether somebody killed it, such as the system, which was short of memory."""
        return not self._ended_here and self._process.returncode == -getattr(signal, "SIGKILL", 9)

    def ask(self, head: dict[str, Any], body: bytes, seconds: float) -> Message | str:
        """Gives the answer, or why there is none; the process has ended then."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(OSError):  # it has ended
                write_message(self._pipe(self._process.stdin), head, body)
                if (answer := read_message(self._pipe(self._process.stdout))) is not None:
                    return answer
        except BaseException:  # an interrupted process would give this answer to the next request
            self._end()
            self.close()
            raise
        finally:
            timer.cancel()
        self.close()
        if self._ended_here:
            return f"decoding it took more than {seconds:g} s"
        if self.was_ended_by_others:
            return "somebody, or the system for want of memory, killed the process that was decoding it"
        return f"the library that decodes it crashed ({_ending(self._process.returncode)})"

    def close(self) -> None:
        """Lets the process end."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                self._pipe(pipe).close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end(self) -> None:
        self._ended_here = True
        self._process.kill()

    @staticmethod
    def _pipe(pipe: Any) -> BinaryIO:
        return pipe  # type: ignore[no-any-return]


def _ending(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"status {status}"


_processes = DecodingProcesses()


def ask(name: str, head: dict[str, Any], body: bytes) -> Message:
    """Asks one of this program's processes, see `DecodingProcesses.ask`."""
    return _processes.ask(name, head, body)


def _start_anew() -> None:
    global _processes
    _processes = DecodingProcesses()  # a forked process must not share its parent's pipes


atexit.register(lambda: _processes.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
