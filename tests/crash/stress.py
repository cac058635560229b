"""Threads and processes that search while one synchronises; every hit is checked afterwards.

    python tests/crash/stress.py --seconds 60 --threads 4 --processes 2 --others 2

`--others` are processes of another user, who may read the index and not write it; only root can start them. The writer
opens the index for each round and closes it, and so do they for some searches, so that they meet every state of the
files. With `--threads 0 --processes 0` nobody else keeps SQLite's log from being cleared away between rounds.

The folder holds stable files and changing ones. Round by round, changing files come, go and get other contents. A
search may see any state that was committed between its start and its end, and must see one of them whole: each hit's
file existed then, with a content that gives this very score; the stable files among the hits of an exact search are
ranked as a search among them alone ranks them. Every third search verifies its shortlist by local features.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import functools
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.fake_encoder import FakeEncoder
from helpers.other_user import shared_place

from tfvlad.index.index import Index

STABLE = 1200  # more than the exact search is used for unasked
CHANGING = 120
K = 10
_TIE = 1e-5  # cosines of hnswlib and of the exact search differ by rounding


class Search(NamedTuple):
    began: float
    ended: float
    query: int
    exact: bool
    verified: bool
    hits: list[tuple[str, float]]


class Round(NamedTuple):
    """The changing files, by name, from one moment on."""

    began: float  # the files may be seen from here
    ended: float  # and nothing older from here
    contents: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--others", type=int, default=2 if os.geteuid() == 0 else 0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with shared_place() as place:
        print(
            run(place, arguments.seconds, arguments.threads, arguments.processes, arguments.others, arguments.seed),
        )


def run(place: Path, seconds: float, threads: int, processes: int, others: int, seed: int) -> str:
    """Searches and synchronises for so long; says how much was done.

    Raises:
      AssertionError: a search gave what no state of the index can give.
    """
    encoder: Any = FakeEncoder()
    photos = place / "photos"
    photos.mkdir()
    for i in range(STABLE):
        (photos / f"stable{i}.jpg").write_text(f"stable {i}")
    with Index.create(place / "index", encoder) as index:
        index.sync(photos)
    readers = [
        _start_reader(place, seed + 100 + number, other=number >= processes) for number in range(processes + others)
    ]
    end = time.monotonic() + seconds
    searches: list[Search] = []
    with contextlib.ExitStack() as stack:
        if threads:
            index = stack.enter_context(Index.open(place / "index", encoder))
        workers = [
            threading.Thread(target=search, args=(index, end, seed + number, searches)) for number in range(threads)
        ]
        for reader in readers:
            _tell(reader, end)
        for worker in workers:
            worker.start()
        rounds = _synchronise(place / "index", photos, end, seed)
        for worker in workers:
            worker.join()
    counts, refused = [len(searches), 0, 0], 0
    for number, reader in enumerate(readers):
        output, _ = reader.communicate()
        assert reader.returncode == 0, "a reader failed"
        found = json.loads(output)
        searches += [Search(*fields) for fields in found["searches"]]
        counts[1 + (number >= processes)] += len(found["searches"])
        refused += found["refused"]
    assert all(counts[kind] for kind, number in enumerate((threads, processes, others)) if number), counts
    hits = sum(_check(photos, one, rounds) for one in searches)
    return (
        f"{seconds:g} s, {threads} threads, {processes} processes, {others} of another user: "
        f"{len(rounds) - 1} synchronisations, {counts[0]} searches by threads, {counts[1]} by processes, "
        f"{counts[2]} by another user's ({refused} refused), {hits} hits checked"
    )


def search(index: Index, end: float, seed: int, done: list[Search]) -> None:
    """Searches for stable contents, exactly and not in turn, until a moment; adds to what is done."""
    generator = np.random.default_rng(seed)
    for number in itertools.count():
        query, exact, verified = int(generator.integers(STABLE)), number % 2 == 0, number % 3 == 0
        began = time.monotonic()
        if began >= end:
            return
        content = f"stable {query}".encode()
        if verified:
            [hits] = index.search(content, K, exact, verify=3, query_views="whole")
        else:
            [hits] = index.search_descriptors([FakeEncoder().describe(content)], K, exact)
        found = [(os.path.basename(hit.path), hit.score) for hit in hits]
        done.append(Search(began, time.monotonic(), query, exact, verified, found))


def _start_reader(place: Path, seed: int, other: bool) -> subprocess.Popen[str]:
    """Starts a process that searches as soon as it is told until when, and waits until it could."""
    program = __file__.replace("stress.py", "reader.py")
    command = [sys.executable, program, str(place / "index"), str(seed), *(["other"] if other else [])]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    return reader


def _tell(reader: subprocess.Popen[str], end: float) -> None:
    assert reader.stdin is not None
    reader.stdin.write(f"{end}\n")
    reader.stdin.flush()


def _synchronise(folder: Path, photos: Path, end: float, seed: int) -> list[Round]:
    generator = np.random.default_rng(seed)
    rounds = [Round(0, 0, {})]
    while time.monotonic() < end:
        contents = {
            f"changing{i}.jpg": f"changing {i} {generator.integers(3)}"
            for i in np.flatnonzero(generator.random(CHANGING) < 0.7).tolist()
        }
        began = time.monotonic()
        for name in rounds[-1].contents.keys() - contents.keys():
            (photos / name).unlink()
        for name, content in contents.items():
            if rounds[-1].contents.get(name) != content:
                (photos / name).write_text(content)
                os.utime(photos / name, ns=(0, 10**18 + len(rounds) * 10**9))  # the contents are of one length
        encoder: Any = FakeEncoder()
        with Index.open(folder, encoder) as index:
            report = index.sync(photos)
        assert not report.failed
        rounds.append(Round(began, time.monotonic(), contents))
    return rounds


@functools.cache
def _describe(content: str) -> NDArray[np.float32]:
    return FakeEncoder().describe(content.encode())


_stable = np.stack([_describe(f"stable {i}") for i in range(STABLE)])


def _check(photos: Path, one: Search, rounds: list[Round]) -> int:
    """Checks a search against the states it can have seen; gives its number of hits."""
    query = _stable[one.query]
    # Seen may be: the last round that was done as the search began, and those that began before it ended.
    first = bisect.bisect_right(rounds, one.began, key=lambda done: done.ended) - 1
    seen = list(itertools.takewhile(lambda later: later.began <= one.ended, rounds[first:]))
    assert len(one.hits) == K, one
    scores = [score for _, score in one.hits]
    assert one.verified or scores == sorted(scores, reverse=True), one
    assert len({name for name, _ in one.hits}) == K, one
    for name, score in one.hits:
        if name.startswith("stable"):
            possible = [f"stable {name[6:-4]}"]
        else:
            possible = [state.contents[name] for state in seen if name in state.contents]
        cosines = [float(query @ _describe(content)) for content in possible]
        assert any(abs(cosine - score) < _TIE for cosine in cosines), (name, score, cosines, one)
    assert one.hits[0][0] == f"stable{one.query}.jpg", one
    if one.exact and not one.verified:
        found = [score for name, score in one.hits if name.startswith("stable")]
        best = -np.sort(-(_stable @ query))[: len(found)]
        assert np.allclose(found, best, atol=_TIE), one
    return len(one.hits)


if __name__ == "__main__":
    main()
