"""Writes the golden folders of a format: a tiny encoder in an index of a few drawn images.

    python tests/golden/make.py tests/golden/v2

It is run once, by the first release of a format, and its result is kept: every later release must read it. A new
format gets a folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import tfvlad

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.tiny_networks import save_tiny_network


def main() -> None:
    target = Path(sys.argv[1])
    if target.exists():
        sys.exit(f"{target} exists already, and is not to be written again")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        shutil.copytree(folder, target)


def make(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir()
    generator = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        blots = Image.fromarray(generator.integers(0, 256, (12, 12, 3), np.uint8))
        blots.resize((96, 96), Image.Resampling.NEAREST).save(photos / f"{name}.png")
    (photos / "broken.png").write_text("no image")
    turned = [np.rot90(np.asarray(Image.open(photos / f"{name}.png")), turns) for name in "abc" for turns in range(4)]
    with tempfile.TemporaryDirectory() as elsewhere:
        network = save_tiny_network(Path(elsewhere) / "tiny.keras", channels=4)
        config = tfvlad.EncoderConfig(
            backbone=network, layer="second", preprocessing="tf", image_size=96, clusters=2, dim=3
        )
        encoder = tfvlad.Encoder.fit(turned, config)
    with tfvlad.Index.create(folder / "index", encoder, views="scales:2", local_features=100) as index:
        index.sync(photos)
        index.calibrate()
        hits = index.search(photos / "a.png", k=3)[0]
    (folder / "expected.json").write_text(
        json.dumps(
            {
                "fingerprint": encoder.fingerprint,
                "descriptor": encoder.encode(photos / "a.png")[0].tolist(),
                "hits of a.png": [[os.path.basename(hit.path), hit.score] for hit in hits],
                "inliers of a.png": hits[0].inliers,
                "descriptors": 6,
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
