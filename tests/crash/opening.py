"""Opens an index again and again, searches it, and prints the memory and the file descriptors in use.

    python tests/crash/opening.py --descriptors 200000 --times 50

With `--other` it does so as another user, who may not write the index; only root can.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.catalogs import NOWHERE
from helpers.fake_encoder import FakeEncoder, unit_vectors
from helpers.other_user import become_other_user, shared_place

from tfvlad.index.catalog import Catalog, EncodedView, Stamp, to_blob
from tfvlad.index.index import Index

DIM = 64


class Use(NamedTuple):
    """What this process uses at a moment."""

    mebibytes: float
    file_descriptors: int
    threads: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--descriptors", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--other", action="store_true")
    arguments = parser.parse_args()
    with shared_place() as place:
        make(place / "index", arguments.descriptors)
        if (child := os.fork()) == 0:  # what the making of the index used is not counted
            try:
                _report(place / "index", arguments.times, arguments.other)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))


def make(folder: Path, descriptors: int) -> None:
    """Makes an index of random descriptors, with its graph."""
    encoder: Any = FakeEncoder(DIM)
    Index.create(folder, encoder).close()
    catalog = Catalog(str(folder))
    with catalog.write() as change:
        root = change.put_root(NOWHERE)
        for number, vector in enumerate(unit_vectors(descriptors, DIM)):
            view = EncodedView("whole", to_blob(vector))
            change.put_file(root, f"{number}.jpg", Stamp(1, 1), str(number).encode(), [view])
    catalog.close()
    with Index.open(folder, encoder) as index, index._catalog.sole_writer():
        index._graphs.save()


def open_often(folder: Path, times: int) -> Iterator[Use]:
    """Opens the index so often, searches it in both ways, closes it, and looks each time at what is in use then."""
    encoder: Any = FakeEncoder(DIM)
    for _ in range(times):
        with Index.open(folder, encoder) as index:
            found = [index.search_descriptors(unit_vectors(1, DIM), 5, exact)[0][0].id for exact in (True, False)]
        assert found == [1, 1]
        yield _use()


def _report(folder: Path, times: int, other: bool) -> None:
    if other:
        become_other_user()
    for number, use in enumerate(open_often(folder, times), 1):
        told = f"{use.mebibytes:.1f} MiB, {use.file_descriptors} file descriptors, {use.threads} threads"
        print(f"opened {number} times: {told}", flush=True)


def _use() -> Use:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return Use(int(lines["VmRSS"].split()[0]) / 1024, len(os.listdir("/proc/self/fd")), int(lines["Threads"]))


if __name__ == "__main__":
    main()
