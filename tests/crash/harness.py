"""Kills index, sync, graph save and encoder save at random points, and checks what is left and how it goes on.

    python tests/crash/harness.py --kills 100 --seed 0

After each kill: SQLite finds the catalog sound; everything that was committed is there, descriptors and local features
together; the encodings lost are those of one batch and what was read ahead; the next run encodes nothing that was
committed, ends in the state of an undisturbed run, finds the same by both searches, and leaves no temporary behind.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from crash import scenarios
from crash.killing import count_steps, in_process
from helpers.fake_encoder import LOOK_AHEAD, FakeEncoder

from tfvlad.index._sync import _BATCH
from tfvlad.index.catalog import Snapshot
from tfvlad.index.index import Index

_QUERIES = 20


class Kill(NamedTuple):
    scenario: str
    where: str
    lost: int  # encodings that were done, and not committed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        _print(run(Path(place), arguments.kills, arguments.seed))


def run(place: Path, kills: int, seed: int) -> list[Kill]:
    """Kills so many processes; some after a time, some at a step of a random kind.

    Raises:
      AssertionError: a kill did harm; the message says which, and at what.
    """
    generator = random.Random(seed)
    import tfvlad.encoding.files  # noqa: F401  # TensorFlow is imported once, for all the forks

    in_process(lambda: scenarios.prepare(place))
    undisturbed = {name: _undisturbed(place, name) for name in scenarios.SCENARIOS}
    survived: list[Kill] = []
    while len(survived) < kills:
        # Of a synchronisation there is more to kill than of the two savings.
        scenario = generator.choice(["create", "sync", "complete", "views", "graph", "encoder"])
        steps, seconds, state = undisturbed[scenario]
        kind = generator.choice(sorted(set(steps)))
        at_step = generator.choice([n for n, step in enumerate(steps, 1) if step == kind])
        at_step = at_step if generator.random() < 0.6 else None
        after = None if at_step else generator.uniform(0, seconds)
        kill = _kill(place, scenario, at_step, after, state)
        if kill is not None:
            survived.append(kill)
    return survived


def _undisturbed(place: Path, scenario: str) -> tuple[list[str], float, Any]:
    """The steps and the seconds of a run that nobody kills, and the state it ends in."""
    target, log, steps = place / "target", place / "log", place / "steps"
    scenarios.start(scenario, place, target)

    def whole() -> None:
        count_steps(steps, None)
        scenarios.run(scenario, place, target, log)

    began = time.monotonic()
    in_process(whole)
    seconds = time.monotonic() - began
    result = steps.read_text().splitlines(), seconds, _state(place, scenario, target)
    _clear(target, log, steps)
    return result


def _kill(place: Path, scenario: str, at_step: int | None, after: float | None, expected: Any) -> Kill | None:
    target, log, steps = place / "target", place / "log", place / "steps"
    scenarios.start(scenario, place, target)

    def doomed() -> None:
        count_steps(steps, at_step)
        scenarios.run(scenario, place, target, log)

    try:
        if not in_process(doomed, after):
            return None  # it was done before its time
        taken = steps.read_text().splitlines() if steps.exists() else []
        where = taken[-1] if taken else "before the first step"
        story = f"{scenario} killed at step {len(taken)}, {where}"
        lines = log.read_text().splitlines() if log.exists() else []
        encoded = [line.removeprefix("encoded ") for line in lines if line.startswith("encoded ")]
        committed = [line.removeprefix("committed ") for line in lines if line.startswith("committed ")]
        lost = 0
        if scenario == "encoder":
            _check_encoder(place, target, story)
        elif (target / "catalog.sqlite").exists():
            known = _check_catalog(target, committed, story, scenarios.VIEWS if scenario == "views" else 1)
            lost = sum(hashlib.sha256(content.encode()).hexdigest() not in known for content in set(encoded))
            assert lost <= _BATCH + LOOK_AHEAD, f"{story}: {lost} encodings lost"
        else:
            known = set()
            assert not encoded, f"{story}: the index is gone"
        log.unlink(missing_ok=True)
        in_process(lambda: scenarios.run(scenario, place, target, log))
        if scenario != "encoder":
            again = [line for line in (log.read_text().splitlines() if log.exists() else []) if "encoded " in line]
            twice = [c for c in again if hashlib.sha256(c.removeprefix("encoded ").encode()).hexdigest() in known]
            assert not twice, f"{story}: encoded although committed: {twice}"
        assert _state(place, scenario, target) == expected, f"{story}: another end than undisturbed"
        return Kill(scenario, where, lost)
    finally:
        _clear(target, log, steps)


def _check_catalog(target: Path, committed: list[str], story: str, views: int) -> set[str]:
    """Looks at a copy, as whoever opens the original mends it; gives the digests of what has so many views in it."""
    copy = target.with_name("copy")
    shutil.copytree(target, copy)
    try:
        with sqlite3.connect(copy / "catalog.sqlite") as connection:
            [(verdict,)] = connection.execute("PRAGMA integrity_check").fetchall()
            paths = {os.fsdecode(path) for (path,) in connection.execute("SELECT path FROM files")}
            paths |= {os.fsdecode(path) for (path,) in connection.execute("SELECT path FROM failures")}
            kept = """SELECT sha256, count(*) FROM images JOIN local_features ON local_features.image = images.id
                      JOIN descriptors ON descriptors.image = images.id GROUP BY images.id"""
            digests = {bytes(sha256).hex() for sha256, has in connection.execute(kept) if has >= views}
        connection.close()
    finally:
        shutil.rmtree(copy)
    assert verdict == "ok", f"{story}: {verdict}"
    assert not set(committed) - paths, f"{story}: committed, and not there: {set(committed) - paths}"
    return digests


def _check_encoder(place: Path, target: Path, story: str) -> None:
    """What a reader finds is one of the two encoders, whole."""

    def read() -> None:
        from tfvlad.encoding.files import read_encoder

        assert read_encoder(target).fingerprint in ("encoder 0", "encoder 1"), story

    in_process(read)


def _state(place: Path, scenario: str, target: Path) -> Any:
    """What must be the same after every run: contents, failures, hits and names of files, without ids and times."""
    hidden = sorted(name for name in os.listdir(place) if name.startswith("."))
    if scenario == "encoder":
        return hidden, {path.name: path.read_bytes() for path in target.iterdir() if path.name != "encoder.json"}
    result = place / "result"

    def look() -> None:
        with Index.open(target, FakeEncoder()) as index, index._catalog.read() as snapshot:  # type: ignore[arg-type]
            files = {path: _kept(snapshot, path).hex() for _, _, path in snapshot.files_page(0, 10_000)}
            queries = [FakeEncoder().describe(f"content {i}".encode()) for i in range(_QUERIES)]
            hits = [[(hit.path, hit.score) for hit in row] for row in index.search_descriptors(queries, 10, exact=True)]
            with index._graphs.current() as (graph, current):
                found = graph.search(np.stack(queries), 1)
                assert found is not None
                near = [[path for _, _, _, path in current.files_of(row)] for row in current.images_of(found[1])]
            failures = sorted((path, reason) for _, path, reason in snapshot.failures())
            state = [files, sorted(map(sorted, hits)), near, failures, sorted(os.listdir(target / "encoder"))]
        result.write_text(json.dumps([*state, sorted(os.listdir(target))]))

    in_process(look)
    state = json.loads(result.read_text())
    result.unlink()
    return hidden, state


def _kept(snapshot: Snapshot, path: str) -> bytes:
    """The descriptors and the local features of what a file shows."""
    row = snapshot.find_file(1, path)
    image = snapshot.image_of_content(row.sha256) if row else None
    assert row is not None
    assert image is not None
    views = snapshot.views_of_content(row.sha256)
    return b"".join([*(vector for _, vector in views), *dict(snapshot.local_features_of(np.array([image]))).values()])


def _clear(target: Path, *files: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    for file in files:
        file.unlink(missing_ok=True)


def _print(kills: list[Kill]) -> None:
    print(f"{len(kills)} kills survived")
    for scenario in scenarios.SCENARIOS:
        mine = [kill for kill in kills if kill.scenario == scenario]
        places = collections.Counter(kill.where for kill in mine).most_common()
        print(f"{scenario}: {len(mine)} kills; " + ", ".join(f"{count}x {where}" for where, count in places))
    lost = [kill.lost for kill in kills if kill.scenario in ("create", "sync", "views")]
    average = sum(lost) / max(1, len(lost))
    print(f"encodings lost per kill of an index: at most {max(lost, default=0)}, {average:.1f} on average")


if __name__ == "__main__":
    main()
