"""A process of the stress test: searches an index until a moment that it reads, and prints what it found.

As another user, who may not write the index, it opens the index again and again, and counts how often it is refused
because a writer came while it was reading.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.stress import Search, search
from helpers.fake_encoder import FakeEncoder
from helpers.other_user import become_other_user

from tfvlad.index.catalog import ChangedWhileReadError
from tfvlad.index.index import Index

LONGEST = 2.0  # seconds that the index is open
PAUSE = 1.0  # seconds that it is closed, at most, so that at times nobody has it open


def main() -> None:
    folder, seed, other = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["other"]
    encoder: Any = FakeEncoder()
    done: list[Search] = []
    refused = 0
    if other:
        with Index.open(folder, encoder) as index:
            index.search(b"stable 0", verify=3)  # imports everything, for which the other user has no rights
        become_other_user()
    print("ready", flush=True)
    end = float(sys.stdin.readline())
    if other:
        generator = np.random.default_rng(seed)
        while (now := time.monotonic()) < end:
            try:
                with Index.open(folder, encoder) as index:
                    search(index, min(end, now + generator.uniform(0, LONGEST)), int(generator.integers(2**32)), done)
            except ChangedWhileReadError:
                refused += 1
            time.sleep(generator.uniform(0, PAUSE))
    else:
        with Index.open(folder, encoder) as index:
            search(index, end, seed, done)
    json.dump({"searches": done, "refused": refused}, sys.stdout)


if __name__ == "__main__":
    main()
