"""Memory and time of indexing many tiny files with a stand-in encoder.

python tests/crash/memory.py --files 100000
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.fake_encoder import FakeEncoder

from tfvlad.index.index import Index


class Watching(FakeEncoder):
    """Prints the memory in use at some of the encodings, and keeps nothing."""

    def __init__(self, at: Iterable[int]) -> None:
        super().__init__(dim=32)
        self._at = set(at)

    def encode_stream(self, sources: Iterable[bytes]) -> Iterator[Any]:
        began = time.monotonic()
        for number, row in enumerate(super().encode_stream(sources), 1):
            self.encoded.clear()
            if number in self._at:
                report(f"{number} encoded", began)
            yield row


def report(what: str, began: float) -> None:
    with open("/proc/self/status", encoding="ascii") as status:
        [now] = [int(line.split()[1]) for line in status if line.startswith("VmRSS")]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{what}: {now / 1024:.0f} MiB, at most {peak / 1024:.0f} MiB, {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        for folder in range(0, files, 1000):
            (photos / str(folder)).mkdir(parents=True)
            for i in range(folder, min(files, folder + 1000)):
                (photos / str(folder) / f"{i}.jpg").write_text(f"content {i}")
        began = time.monotonic()
        encoder: Any = Watching([1000, files // 10, files // 2, files])
        with Index.create(Path(place) / "index", encoder) as index:
            report("empty", began)
            index.sync(photos)
            report("graph saved", began)
            index.sync(photos)
            report("synchronised again", began)
            print(f"catalog: {(Path(place) / 'index' / 'catalog.sqlite').stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
