"""What does each network that goes by a name cost, and does it survive the cut and the export?

    python benchmarks/networks.py [--only NAME] [--images FOLDER] [--json OUT]

Each is built with seeded random weights (its structure decides the speed), cut at its default layer, and timed on
tensors that lie ready, at its default image size, in batches of 4. Then an encoder with a codebook of 8 centroids is
fitted with it on drawn photographs, exported, and loaded by TensorFlow; the cosine is the smallest, over three of them,
of what the export gives to what the encoder gives. A network that needs more memory than there is, is named and left
out.
"""

from __future__ import annotations

import dataclasses
import io
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import timing
from PIL import Image

BATCH = 4


@dataclasses.dataclass(frozen=True)
class Row:
    """One network, cut at its default layer."""

    network: str
    layer: str
    image_size: int
    cells: int  # of a side
    channels: int
    parameters: int
    ms_per_image: float
    images_per_second: float
    export_cosine: float


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--only", action="append", help="networks, all by default; may be repeated")
    arguments = parser.parse_args()
    from tfvlad.named_networks import NAMED_NETWORKS

    rows, missing = [], []
    for name in arguments.only or NAMED_NETWORKS:
        # A process of its own, whose memory ends with it.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply_async(measure, (name, arguments.seed))
            try:
                row = found.get(timeout=600)
            except Exception as error:
                missing.append(f"{name} ({type(error).__name__}: {error})")
                continue
        print_row(row)
        rows.append(row)
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def print_row(row: Row) -> None:
    print(
        f"| `{row.network}` | `{row.layer}` | {row.image_size} | {row.cells} | {row.channels} | "
        f"{row.parameters / 1e6:.1f} | {row.ms_per_image:.0f} | "
        f"{row.images_per_second:.1f} | {row.export_cosine:.6f} |",
        flush=True,
    )


def measure(name: str, seed: int) -> Row:
    """Builds, cuts, times and exports one network."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    import tfvlad

    config = tfvlad.EncoderConfig(
        name,
        f"random:{seed}",
        resize="stretch" if name.startswith("nasnet") else "fit",
        clusters=8,
        dim=4,
        codebook_samples=2000,
    )
    images = photographs(8, seed)
    encoder = tfvlad.Encoder.fit(images, config)
    side = config.image_size
    batch = tf.random.stateless_uniform((BATCH, side, side, 3), (seed, 0))
    graph = tf.function(lambda pixels: encoder.backbone.model(pixels, training=False))
    rows = graph(batch).shape[1]
    seconds = timing.median_seconds(lambda: graph(batch).numpy())
    return Row(
        name,
        str(encoder.config.layer),
        side,
        rows,
        encoder.backbone.channels,
        encoder.backbone.model.count_params(),
        seconds / BATCH * 1e3,
        BATCH / seconds,
        export_cosine(encoder, images[:3]),
    )


def export_cosine(encoder: Any, images: list[bytes]) -> float:
    """The smallest cosine between the descriptors of an encoder and of its export."""
    import tensorflow as tf

    from tfvlad.export import saved_model

    with tempfile.TemporaryDirectory() as folder:
        path = saved_model(encoder, Path(folder) / "model")
        serve = tf.saved_model.load(str(path)).signatures["serving_default"]
        exported = serve(image_bytes=tf.constant(images))["descriptor"].numpy()
    return float(np.min(np.sum(exported * np.concatenate([encoder.encode(image) for image in images]), axis=1)))


def photographs(count: int, seed: int) -> list[bytes]:
    """Draws photographs of coloured blots."""
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        blots = Image.fromarray(generator.integers(0, 255, (9, 12, 3), np.uint8))
        file = io.BytesIO()
        blots.resize((480, 360), Image.Resampling.BICUBIC).save(file, "PNG")
        drawn.append(file.getvalue())
    return drawn


if __name__ == "__main__":
    main()
