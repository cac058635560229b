"""`tfvlad bench`: how fast an encoder is on a folder of images, and where the time goes."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._printing import report_failures, table
from tfvlad.images.listing import image_paths
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import paths

if TYPE_CHECKING:
    from tfvlad.encoding.throughput import Throughput

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_images(values)
    paths.define_encoder(values)
    encoder_flags.define_max_pixels(values)
    paths.define_limit(values)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    files = [path for folder in values.images for path in image_paths(folder)]
    if 0 < values.limit < len(files):
        files = [files[number * len(files) // values.limit] for number in range(values.limit)]
    encoder = tfvlad.Encoder.load(values.encoder, values.max_pixels)
    from tfvlad.encoding.throughput import measure

    measured = measure(encoder, files)
    print(_as_json(measured) if values.format == "json" else _as_text(measured))
    return report_failures(measured.failed)


def _as_json(measured: Throughput) -> str:
    derived = {"images_per_second": measured.images / measured.seconds, "efficiency": measured.efficiency}
    return json.dumps({**dataclasses.asdict(measured), **derived}, indent=2)


def _as_text(measured: Throughput) -> str:
    images = measured.images
    all_cpu = sum(stage.cpu_seconds for stage in measured.stages)
    rows = [
        [
            stage.name,
            f"{images / stage.seconds:.1f}",
            f"{stage.seconds / images * 1e3:.2f}",
            f"{stage.cpu_seconds / images * 1e3:.2f}",
            f"{stage.cpu_seconds / all_cpu:.0%}",
        ]
        for stage in measured.stages
    ]
    rate, total = images / measured.seconds, measured.cpu_seconds / images
    rows.append(["all at once", f"{rate:.1f}", f"{1e3 / rate:.2f}", f"{total * 1e3:.2f}", ""])
    head = ("stage by itself", "images/s", "ms/image", "CPU ms/image", "share of CPU")
    return (
        f"{table(head, rows)}\n{images} images on {measured.cores} cores: {measured.efficiency:.0%} of the rate that "
        "the stages' CPU time allows"
    )
