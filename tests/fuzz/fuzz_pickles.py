"""Coverage-guided fuzzing of the pickles that the revisited benchmarks are published as.

    python tests/fuzz/fuzz_pickles.py -max_total_time=60 [CORPUS]

An input ends as plain data or as a PlainPickleError of one line. Nothing that it names is imported, and it takes no
more memory than a small multiple of its own size.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tfvlad.storage.plain_pickle", "pickletools"]):
    from tfvlad.storage.plain_pickle import PlainPickleError, read_plain_pickle

import numpy as np
from limits import limits

TRUTH = {
    "imlist": ["oxford_000001", "oxford_000002"],
    "qimlist": ["all_souls_000013"],
    "gnd": [{"bbx": np.array([1.0, 2.0, 30.5, 40.25]), "easy": np.array([0]), "hard": [1], "junk": []}],
}


def read(data: bytes) -> None:
    """One input: plain data, or one line."""
    with limits(data):
        try:
            read_plain_pickle(data)
        except PlainPickleError as error:
            if "\n" in str(error):
                raise RuntimeError(f"not one line: {error!r}") from None


def main() -> None:
    """Fuzzes until libFuzzer's limits are reached."""
    seeds = Path(tempfile.mkdtemp())
    for protocol in range(5):
        seed = pickle.dumps(TRUTH, protocol)
        read_plain_pickle(seed)  # what is imported late, such as codecs, is imported now
        (seeds / str(protocol)).write_bytes(seed)
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    atheris.Setup([*sys.argv, *([] if given else [str(seeds)]), "-max_len=4096", "-rss_limit_mb=2048"], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
