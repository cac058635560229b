"""Coverage-guided fuzzing of the files of published weights: Caffe's, and PyTorch's of both formats.

    python tests/fuzz/fuzz_weights.py -max_total_time=60 [CORPUS]

An input ends as arrays or as a WeightsError of one line. Nothing that it names is imported, and it takes no more memory
than a small multiple of its own size.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["tfvlad.networks._caffemodel", "tfvlad.networks._torch_file", "tfvlad.storage.plain_pickle", "zipfile"]
):
    from tfvlad.networks._caffemodel import read_caffemodel
    from tfvlad.networks._torch_file import read_torch_file

import numpy as np
from limits import limits

from tfvlad.errors import WeightsError

sys.path.append(str(Path(__file__).resolve().parents[1]))
from helpers import published_googlenet as published

WEIGHTS = {"conv1/7x7_s2": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(3)}


def read(data: bytes) -> None:
    """One input, given to both readers: arrays, or one line."""
    with limits(data):
        for reader in (read_caffemodel, read_torch_file):
            try:
                reader(data)
            except WeightsError as error:
                if "\n" in str(error):
                    raise RuntimeError(f"not one line: {error!r}") from None


def main() -> None:
    """Fuzzes until libFuzzer's limits are reached."""
    seeds = Path(tempfile.mkdtemp())
    blobs = {"conv1/7x7_s2": [WEIGHTS["conv1/7x7_s2"], np.ones(2)]}
    files = {
        "caffe": published.caffemodel(blobs),
        "caffe-v1": published.caffemodel(blobs, old=True),
        "torch": published.torch_old(WEIGHTS),
        "torch-zip": published.torch_zip(WEIGHTS),
    }
    for name, content in files.items():
        read(content)  # what is imported late is imported now
        (seeds / name).write_bytes(content)
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    atheris.Setup([*sys.argv, *([] if given else [str(seeds)]), "-max_len=4096", "-rss_limit_mb=2048"], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
