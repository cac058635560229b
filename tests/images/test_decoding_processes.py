"""Processes that decode: what a crash, a hang or a kill of one of them does, and what it does not do."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.many_formats import KINDS

from tfvlad.errors import ImageError, PassingImageError
from tfvlad.images import _decoding_process, _decoding_processes
from tfvlad.images._decoding_processes import DecodingProcesses
from tfvlad.images.libraries import library_pixels
from tfvlad.images.pictures import open_picture

MOST = 10_000_000
HEIC = KINDS["HEIC"].data
DECODE = {"task": "decode", "max_pixels": MOST, "shortest_side": None, "longest_side": None}

Make = Callable[..., DecodingProcesses]

FAKE = """
import os, sys, time
from tfvlad.images._decoding_process import read_message, write_message

def main():
    while (request := read_message(sys.stdin.buffer)) is not None:
        {does}
        write_message(sys.stdout.buffer, {{"size": [1, 1], "shape": [1, 1, 3], "pid": os.getpid()}}, bytes(3))
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes processes with a decoder that does something else."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[DecodingProcesses] = []

    def make(does: str = "pass", **options: float) -> DecodingProcesses:
        (tmp_path / f"decoder_{len(made)}.py").write_text(FAKE.format(does=does))
        made.append(DecodingProcesses(int(options.pop("most", 1)), module=f"decoder_{len(made)}", **options))
        return made[-1]

    yield make
    for processes in made:
        processes.close()


def test_a_process_is_started_when_it_is_needed_and_kept(fake: Make) -> None:
    processes = fake()
    assert processes._idle == []
    first, _ = processes.ask("it", DECODE, b"")
    assert processes.ask("it", DECODE, b"")[0]["pid"] == first["pid"]
    assert first["pid"] != os.getpid()


def test_a_decoder_that_crashes(fake: Make) -> None:
    processes = fake("os.abort() if request[1] == b'bad' else None")
    pid = processes.ask("good", DECODE, b"good")[0]["pid"]
    with pytest.raises(ImageError, match=r"bad: the library that decodes it crashed \((SIGABRT|status)"):
        processes.ask("bad", DECODE, b"bad")
    assert processes.ask("good", DECODE, b"good")[0]["pid"] != pid


def test_a_decoder_that_hangs(fake: Make) -> None:
    processes = fake("time.sleep(100) if request[1] == b'bad' else None", seconds=5)
    processes.ask("good", DECODE, b"good")
    processes._seconds = 0.3
    with pytest.raises(ImageError, match=r"bad: decoding it took more than 0.3 s"):
        processes.ask("bad", DECODE, b"bad")
    processes._seconds = 30.0
    processes.ask("good", DECODE, b"good")


def test_a_decoder_that_prints_garbage(fake: Make) -> None:
    processes = fake("sys.stdout.buffer.write(b'x' * 8); sys.stdout.flush(); os._exit(3)")
    with pytest.raises(ImageError, match=r"crashed \(status 3|status -3\)"):
        processes.ask("it", DECODE, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_process_that_is_killed_in_the_midst_of_decoding(fake: Make) -> None:
    processes = fake("time.sleep(0.8) if request[1] == b'slow' else None")
    pid = processes.ask("it", DECODE, b"")[0]["pid"]
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(PassingImageError, match="killed the process"):
        processes.ask("it", DECODE, b"slow")
    assert processes.ask("it", DECODE, b"")[0]["pid"] != pid


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_process_that_was_killed_while_it_was_idle_is_replaced(fake: Make) -> None:
    processes = fake()
    pid = processes.ask("it", DECODE, b"")[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert processes.ask("it", DECODE, b"")[0]["pid"] != pid


def test_threads_wait_for_a_free_process(fake: Make) -> None:
    processes = fake("time.sleep(0.05)", most=2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: processes.ask(str(number), DECODE, b"")[0]["pid"], range(12)))
    assert len(answers) == 12
    assert len(set(answers)) <= 2


def test_a_process_that_cannot_be_started(fake: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(PassingImageError, match="cannot be started: No such file"):
        fake().ask("it", DECODE, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
def test_memory_is_limited(fake: Make) -> None:
    grab = "bytearray(2**31)"
    does = f"from tfvlad.images._decoding_process import _limit; _limit(request[0]); {grab}"
    with pytest.raises(ImageError, match="crashed"):
        fake(does).ask("bomb", {**DECODE, "max_pixels": 1000}, b"")
    fake(does).ask("a large picture", {**DECODE, "max_pixels": 100_000_000}, b"")


def test_want_of_memory_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfvlad.images import _library_decoding

    def decode(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_library_decoding, "decode", decode)
    assert _decoding_process._answer(DECODE, HEIC) == ({"reason": "there is not enough memory to decode it"}, b"")


def test_a_run_goes_on_after_a_crash(fake: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoding_processes, "_processes", fake("os.abort()"))
    for read in (library_pixels, open_picture):
        with pytest.raises(ImageError, match="crashed"):
            read(HEIC, "it", MOST)


def test_what_libraries_print_is_no_answer() -> None:
    pixels, _ = library_pixels(KINDS["TIFF"].data, "it", MOST)
    assert pixels.shape == (64, 96, 3)


def test_a_library_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfvlad.images import _library_decoding

    def decode(*arguments: object) -> None:
        raise ImportError("libheif.so.1: cannot open shared object file")

    monkeypatch.setattr(_library_decoding, "decode", decode)
    head, _ = _decoding_process._answer(DECODE, HEIC)
    assert head["passing"]
    assert head["reason"].startswith("the library that decodes it cannot be loaded: libheif")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_its_own() -> None:
    library_pixels(HEIC, "it", MOST)
    before = _decoding_processes._processes
    _decoding_processes._start_anew()
    assert _decoding_processes._processes is not before
    before.close()
    library_pixels(HEIC, "it", MOST)
