"""Does the way from JPEG files to descriptors keep every core busy? And what does a large photograph cost?

    python benchmarks/pipeline.py [--images DIR] [--backbone NET.keras --layer NAME --preprocessing MODE] [--json OUT]

Without --images, photographs are drawn; without --backbone, VGG16's layers are used, with random weights. The first
table has each stage by itself and all of them at once, whose last figure is the time that the stages' processor time
would take on cores that are never idle, over the time that it took (the target is 0.95). The second has JPEGs of 2 and
12 megapixels, decoded whole and at a reduced DCT scale, and the cosine of the two descriptors (the target is 0.995).
Whatever the scale, the codes of all blocks must be read: what that takes by itself is told, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import timing
from PIL import Image

SMALLEST = 8  # times smaller: of each block of the JPEG one pixel, so that hardly more than reading is left
RATES = {"2 megapixels": (1633, 1225), "12 megapixels": (4000, 3000)}


@dataclasses.dataclass(frozen=True)
class StageRow:
    """A stage by itself, or all at once; medians of the rounds."""

    stage: str
    images_per_second: float
    ms_per_image: float
    cpu_ms_per_image: float
    efficiency: float | None


@dataclasses.dataclass(frozen=True)
class DecodingRow:
    """One size of photograph."""

    photograph: str
    whole_ms: float
    reduced_ms: float
    codes_ms: float
    cosine: float


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--images", help="a folder of photographs")
    parser.add_argument("--limit", type=int, default=128, help="images to measure on, at most (128)")
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--layer")
    parser.add_argument("--preprocessing")
    parser.add_argument("--image_size", type=int, default=224)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(arguments.images, folder, arguments.limit)
        encoder = fit(arguments, paths)
        stages = stage_rows(encoder, paths, arguments.rounds)
        large = decoding_rows(encoder, paths[0], arguments.rounds)
    config, cores = encoder.config, timing.all_threads()[-1]
    timing.print_table(
        f"{config.backbone} {config.layer}, {config.image_size} px, {len(paths)} images, {cores} cores",
        ("stage by itself", "images/s", "ms/image", "CPU ms/image", "efficiency"),
        [
            (
                row.stage,
                f"{row.images_per_second:.1f}",
                f"{row.ms_per_image:.2f}",
                f"{row.cpu_ms_per_image:.2f}",
                "" if row.efficiency is None else f"{row.efficiency:.2f}",
            )
            for row in stages
        ],
    )
    timing.print_table(
        f"one JPEG, read to {config.image_size} px",
        ("photograph", "whole, ms", "reduced, ms", "whole / reduced", "codes alone, ms", "cosine"),
        [
            (
                row.photograph,
                f"{row.whole_ms:.1f}",
                f"{row.reduced_ms:.1f}",
                f"{row.whole_ms / row.reduced_ms:.1f}",
                f"{row.codes_ms:.1f}",
                f"{row.cosine:.4f}",
            )
            for row in large
        ],
    )
    timing.write_json(arguments.json, [*stages, *large])


def photographs(images: str | None, folder: str, limit: int) -> list[str]:
    """Paths of the photographs to measure on."""
    from tfvlad.demo.drawn_dataset import draw_dataset
    from tfvlad.images.listing import image_paths

    return image_paths(images or draw_dataset(folder, covers=limit).photographs)[:limit]


def fit(arguments: argparse.Namespace, paths: list[str]) -> Any:
    """An encoder of the settings; the quality of its codebook does not matter here."""
    import tfvlad

    config = tfvlad.EncoderConfig(
        backbone=arguments.backbone,
        weights=arguments.weights,
        layer=arguments.layer,
        preprocessing=arguments.preprocessing,
        image_size=arguments.image_size,
        codebook_samples=20_000,
        dim=min(128, len(paths) // 2),
    )
    return tfvlad.Encoder.fit(paths, config, seed=arguments.seed)


def stage_rows(encoder: Any, paths: list[str], rounds: int) -> list[StageRow]:
    """Measures the stages."""
    from tfvlad.encoding.throughput import measure

    measured = [measure(encoder, paths) for _ in range(rounds)]
    rows = [
        stage_row(
            stage.name,
            float(np.median([one.stages[position].seconds for one in measured])) / len(paths),
            float(np.median([one.stages[position].cpu_seconds for one in measured])) / len(paths),
        )
        for position, stage in enumerate(measured[0].stages)
    ]
    together = stage_row(
        "all at once",
        float(np.median([one.seconds for one in measured])) / len(paths),
        float(np.median([one.cpu_seconds for one in measured])) / len(paths),
        float(np.median([one.efficiency for one in measured])),
    )
    return [*rows, together]


def stage_row(name: str, seconds: float, cpu_seconds: float, efficiency: float | None = None) -> StageRow:
    """A row from what one image takes."""
    return StageRow(name, 1 / seconds, seconds * 1e3, cpu_seconds * 1e3, efficiency)


def decoding_rows(encoder: Any, path: str, rounds: int) -> list[DecodingRow]:
    """Measures large JPEGs: a photograph, enlarged."""
    import tensorflow as tf

    from tfvlad.images.loading import fit_to, preprocess

    config, loader = encoder.config, encoder.extractor.loader

    def decode_whole(data: bytes) -> Any:
        return preprocess(
            fit_to(tf.io.decode_jpeg(data, 3), config.image_size, config.resize), encoder.backbone.preprocessing
        )

    rows = []
    for name, size in RATES.items():
        file = io.BytesIO()
        Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        data = file.getvalue()
        whole, reduced = encoder.encode([np.asarray(tf.io.decode_jpeg(data, 3)), data])
        rows.append(
            DecodingRow(
                name,
                milliseconds(lambda data=data: decode_whole(data), rounds),
                milliseconds(lambda data=data: loader.load(data), rounds),
                milliseconds(lambda data=data: tf.io.decode_jpeg(data, 3, SMALLEST), rounds),
                float(whole @ reduced),
            )
        )
    return rows


def milliseconds(run: Callable[[], Any], rounds: int) -> float:
    """The median time of a run, behind a first one."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


if __name__ == "__main__":
    main()
