"""Contenders timed side by side: each in a process of its own, all once in every round, in random order.

A process of its own, because idle threads of one library (OpenBLAS and OpenMP spin for a while) slow down the next;
all in every round, because the machine's speed drifts, and a ratio within a round does not.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

# Builds a contender: gives what is timed, and what turns its result into the figures of quality.
T = TypeVar("T")
Prepared = tuple[Callable[[], Any], Callable[[Any], dict[str, float]]]
Prepare = Callable[..., Prepared]

PAUSE = 0.05  # seconds, in which the threads of whoever ran before fall asleep
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGES = ("numpy", "numba", "tensorflow", "keras", "jax", "torch", "scikit-learn", "hnswlib", "faiss-cpu", "pyvisim")


@dataclasses.dataclass(frozen=True)
class Timing:
    """How a contender did.

    Attributes:
      seconds: (rounds,) wall time.
      cpu_seconds: (rounds,) of all the process's threads.
      peak_bytes: memory that its first run took beyond what it was given.
      quality: of its result, by name.
    """

    seconds: npt.NDArray[np.float64]
    cpu_seconds: npt.NDArray[np.float64]
    peak_bytes: int
    quality: dict[str, float]

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.seconds))

    def ratio(self, other: Timing) -> float:
        """The median, over rounds, of this one's time in the other's."""
        return float(np.median(self.seconds / other.seconds))


def compare(
    contenders: dict[str, Prepare], arguments: Sequence[Any], threads: int, rounds: int, least: float = 0.0
) -> tuple[dict[str, Timing], list[str]]:
    """Times contenders on the same work.

    Args:
      contenders: functions at the top level of a module; one that raises ImportError is left out.
      arguments: given to each, in its own process.
      threads: cores that each may use.
      rounds: how often each runs, behind a first time that warms it up; 0 times that one, for what takes minutes.
      least: seconds; a shorter run is repeated within its round until they are over, and its mean is the timing.

    Returns:
      The timings, and what was left out, with the reason.
    """
    timings: dict[str, Timing] = {}
    missing: list[str] = []
    with pinned(threads), contextlib.ExitStack() as stack:
        workers: dict[str, _Worker] = {}
        for name, prepare in contenders.items():  # one after the other: a first run is for its memory, too
            worker = stack.enter_context(_Worker(prepare, arguments, least))
            if worker.missing:
                missing.append(f"{name} ({worker.missing})")
            else:
                workers[name] = worker
        order, generator = list(workers), random.Random(0)
        for _ in range(rounds):
            generator.shuffle(order)
            for name in order:
                time.sleep(PAUSE)
                workers[name].run()
        for name, worker in workers.items():
            seconds, cpu = np.array(worker.times or [worker.first_time]).T
            timings[name] = Timing(seconds, cpu, worker.peak_bytes, worker.quality)
    return timings, missing


def alone(run: Callable[..., T], *arguments: Any) -> T:
    """Runs a function at the top level of a module in a new process, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(run, *arguments).result()


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keeps the processes that are started in the block to so many cores and threads."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if cores:
        os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Worker:
    """A contender's process."""

    def __init__(self, prepare: Prepare, arguments: Sequence[Any], least: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, prepare, tuple(arguments), least), daemon=True)
        self._process.start()
        theirs.close()
        self.times: list[tuple[float, float]] = []
        self.missing, self.peak_bytes, self.quality, self.first_time = self._pipe.recv()

    def run(self) -> None:
        self._pipe.send(True)
        self.times.append(self._pipe.recv())

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()


def _work(pipe: Connection, prepare: Prepare, arguments: tuple[Any, ...], least: float) -> None:
    try:
        run, judge = prepare(*arguments)
    except ImportError as error:
        pipe.send((str(error), 0, {}, (0.0, 0.0)))
        return
    before = reset_peak()
    cpu, start = time.process_time(), time.perf_counter()
    result = run()
    first_time = time.perf_counter() - start, time.process_time() - cpu
    peak = status("VmHWM") - before
    quality = judge(result)
    del result
    pipe.send((None, max(0, peak), quality, first_time))
    with contextlib.suppress(EOFError):
        while pipe.recv():
            pipe.send(_time(run, least))


def _time(run: Callable[[], Any], least: float) -> tuple[float, float]:
    """Wall and CPU seconds of one run: the mean of as many as it takes to fill `least` seconds."""
    cpu, start, runs = time.process_time(), time.perf_counter(), 0
    while True:
        run()
        runs += 1
        seconds = time.perf_counter() - start
        if seconds >= least:
            return seconds / runs, (time.process_time() - cpu) / runs


def median_seconds(run: Callable[[], Any], least: float = 1.0) -> float:
    """The median of a run's seconds in this process, behind one that warms it up: three runs, or `least` seconds."""
    run()
    seconds: list[float] = []
    while sum(seconds) < least or len(seconds) < 3:
        seconds.append(_time(run, 0.0)[0])
    return float(np.median(seconds))


def reset_peak() -> int:
    """Makes the kernel forget the process's peak; gives the bytes that it has now."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")


def status(field: str) -> int:
    """Bytes, of `/proc/self/status`; 0 where there is none."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))
    return 0


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with the arguments that all benchmarks share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="OUT", help="write the figures there, too")
    made.add_argument("--rounds", type=int, default=rounds, help=f"times that each contender runs ({rounds})")
    made.add_argument("--seed", type=int, default=0)
    return made


def all_threads() -> list[int]:
    """One thread, and as many as there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return sorted({1, cores})


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows under a header: the first column to the left, figures to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        first, *rest = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  " + "  ".join([first, *(cell.strip().rjust(len(cell)) for cell in rest)]))
    sys.stdout.flush()


def print_missing(missing: Iterable[str]) -> None:
    """Names what could not take part."""
    for name in sorted(set(missing)):
        print(f"left out: {name}")


def write_json(path: Path | None, rows: Iterable[Any], missing: Iterable[str] = ()) -> None:
    """Writes rows (dataclasses) with the machine, the date, the versions and the command that made them."""
    if path is None:
        return
    document = {
        "command": "python " + " ".join(sys.argv),
        "date": datetime.date.today().isoformat(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": dict(_versions()),
        "missing": sorted(set(missing)),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield package, importlib.metadata.version(package)
