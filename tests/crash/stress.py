"""Threads and processes that search while one synchronises; every hit is checked afterwards.

    python tests/crash/stress.py --seconds 60 --threads 4 --processes 2

The folder holds stable files and changing ones. Round by round, changing files come, go and get other contents. A
search may see any state that was committed between its start and its end, and must see one of them whole: each hit's
file existed then, with a content that gives this very score; the stable files among the hits of an exact search are
ranked as a search among them alone ranks them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.fake_encoder import FakeEncoder

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
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print(run(Path(place), arguments.seconds, arguments.threads, arguments.processes, arguments.seed))


def run(place: Path, seconds: float, threads: int, processes: int, seed: int) -> str:
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
        end = time.monotonic() + seconds
        searches: list[Search] = []
        workers = [
            threading.Thread(target=lambda n=n: searches.extend(search(index, end, seed + n)))  # type: ignore[misc]
            for n in range(threads)
        ]
        readers = [_start_reader(place, end, seed + 100 + n) for n in range(processes)]
        for worker in workers:
            worker.start()
        rounds = _synchronise(index, photos, end, seed)
        for worker in workers:
            worker.join()
        in_threads = len(searches)
        for reader in readers:
            output, _ = reader.communicate()
            assert reader.returncode == 0, "a reader failed"
            searches += [Search(*fields) for fields in json.loads(output)]
    assert in_threads or not threads
    hits = sum(_check(photos, one, rounds) for one in searches)
    return (
        f"{seconds:g} s, {threads} threads, {processes} processes: {len(rounds) - 1} synchronisations, "
        f"{in_threads} searches by threads, {len(searches) - in_threads} by processes, {hits} hits checked"
    )


def search(index: Index, end: float, seed: int) -> list[Search]:
    """Searches for stable contents, exactly and not in turn, until a moment."""
    generator = np.random.default_rng(seed)
    done: list[Search] = []
    while time.monotonic() < end:
        query, exact, began = int(generator.integers(STABLE)), len(done) % 2 == 0, time.monotonic()
        [hits] = index.search_descriptors([FakeEncoder().describe(f"stable {query}".encode())], K, exact)
        done.append(Search(began, time.monotonic(), query, exact, [(os.path.basename(h.path), h.score) for h in hits]))
    return done


def _start_reader(place: Path, end: float, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__.replace("stress.py", "reader.py"), str(place / "index"), str(end), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _synchronise(index: Index, photos: Path, end: float, seed: int) -> list[Round]:
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
        report = index.sync(photos)
        assert not report.failed
        rounds.append(Round(began, time.monotonic(), contents))
    return rounds


_stable = np.stack([FakeEncoder().describe(f"stable {i}".encode()) for i in range(STABLE)])


def _check(photos: Path, one: Search, rounds: list[Round]) -> int:
    """Checks a search against the states it can have seen; gives its number of hits."""
    query = _stable[one.query]
    # Seen may be: the last round that was done as the search began, and those that began before it ended.
    first = max(i for i, done in enumerate(rounds) if done.ended <= one.began)
    seen = [rounds[first], *(later for later in rounds[first + 1 :] if later.began <= one.ended)]
    assert len(one.hits) == K, one
    scores = [score for _, score in one.hits]
    assert scores == sorted(scores, reverse=True), one
    assert len({name for name, _ in one.hits}) == K, one
    for name, score in one.hits:
        if name.startswith("stable"):
            possible = [f"stable {name[6:-4]}"]
        else:
            possible = [state.contents[name] for state in seen if name in state.contents]
        cosines = [float(query @ FakeEncoder().describe(content.encode())) for content in possible]
        assert any(abs(cosine - score) < _TIE for cosine in cosines), (name, score, cosines, one)
    assert one.hits[0][0] == f"stable{one.query}.jpg", one
    if one.exact:
        found = [score for name, score in one.hits if name.startswith("stable")]
        best = -np.sort(-(_stable @ query))[: len(found)]
        assert np.allclose(found, best, atol=_TIE), one
    return len(one.hits)


if __name__ == "__main__":
    main()
