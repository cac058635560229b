"""2,000 random mutations of image files through `Encoder.encode_stream`, in a process of their own.

`pytest -s` shows how each kind of mutation ended.
"""

from __future__ import annotations

import collections
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.damaged_images import KINDS, damage, whole_images

MUTATIONS = 1000


def mutants(photographs: list[str], seed: int = 0) -> list[tuple[str, bytes]]:
    """Kinds of damage in turn, with the damaged files."""
    generator = random.Random(seed)
    drawn, taken = list(whole_images().values()), [Path(path).read_bytes() for path in photographs]
    made = []
    for i in range(MUTATIONS):
        sources = taken if taken and i % 10 == 9 else drawn
        kind = KINDS[i % len(KINDS)]
        made.append((kind, damage(generator.choice(sources), kind, generator, drawn)))
    return made


def encode_mutants(network: str, photographs: list[str]) -> None:
    """Runs in the subprocess: prints a line for each kind, with its descriptors and its failures."""
    import tfvlad

    config = tfvlad.EncoderConfig(
        backbone=network,
        layer="second",
        preprocessing="tf",
        image_size=64,
        resize="stretch",
        power=1.0,
        clusters=4,
        dim=None,
        codebook_samples=400,
    )
    files = mutants(photographs)
    encoder = tfvlad.Encoder.fit(list(whole_images().values()), config, on_error=lambda _: None)
    rows = encoder.encode_stream(data for _, data in files)
    ends: collections.Counter[tuple[str, str]] = collections.Counter()
    for (kind, _), row in zip(files, rows, strict=True):
        if isinstance(row, tfvlad.ImageError):
            assert row.reason
            assert "\n" not in str(row)
            ends[kind, "failure"] += 1
        else:
            assert row.shape == (encoder.dim,)
            # An image without any contrast may have no features.
            assert np.isclose(np.linalg.norm(row), 1, atol=1e-5) or not row.any()
            ends[kind, "descriptor"] += 1
    for kind in KINDS:
        print(kind, ends[kind, "descriptor"], ends[kind, "failure"])


def test_every_mutation_ends_as_a_descriptor_or_as_one_failure(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from helpers.tiny_networks import save_tiny_network

    network = save_tiny_network(tmp_path / "tiny.keras")
    try:
        folder = request.getfixturevalue("data_dir") / "smvs_dvd" / "Canon"
        photographs = [str(path) for path in sorted(folder.glob("*.jpg"))[:4]]
    except pytest.skip.Exception:
        photographs = []
    done = subprocess.run(
        [sys.executable, __file__, network, *photographs],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    table = [line.split() for line in done.stdout.splitlines()]
    print(f"\n{'mutation':12} descriptors failures")
    for kind, descriptors, failures in table:
        print(f"{kind:12} {descriptors:>11} {failures:>8}")
    assert sum(int(number) for _, *numbers in table for number in numbers) == MUTATIONS


if __name__ == "__main__":
    encode_mutants(sys.argv[1], sys.argv[2:])
