"""`tfvlad bench`: how fast an encoder is on a folder of images, and where the time goes."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._printing import report_failures, show, table
from tfvlad.images.listing import image_paths
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import paths

if TYPE_CHECKING:
    from tfvlad.encoding.throughput import Throughput
    from tfvlad.index.throughput import VerificationTime

OPERANDS = ""

_GOOD = 0.8  # of the rate that the stages' CPU time allows
_FEW = 100  # images


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
    from tfvlad.index.throughput import time_verification

    measured = measure(encoder, files)
    verification = time_verification(encoder, files)
    show(_as_json(measured, verification) if values.format == "json" else _as_text(measured, verification))
    return report_failures(measured.failed)


def _as_json(measured: Throughput, verification: VerificationTime | None) -> str:
    derived = {"images_per_second": measured.images / measured.seconds, "efficiency": measured.efficiency}
    compared = None if verification is None else dataclasses.asdict(verification)
    return json.dumps({**dataclasses.asdict(measured), **derived, "verification": compared}, indent=2)


def _advice(measured: Throughput) -> str:
    """Says whether the rate is good, and what would make it better."""
    largest = max(measured.stages, key=lambda stage: stage.cpu_seconds)
    share = largest.cpu_seconds / sum(stage.cpu_seconds for stage in measured.stages)
    where = f"{share:.0%} of the work is {largest.name}"
    if largest.name == "decoding":
        where += "; smaller files, or more cores, would help"
    elif largest.name.startswith(("network", "graph")):
        where += "; a smaller --image_size, an earlier --layer, a smaller network or a GPU would help"
    if measured.efficiency >= _GOOD:
        return f"The cores are well used. {where}"
    if measured.images < _FEW:
        return f"So few images cannot keep all cores at work: measure some hundred. {where}"
    return f"The cores wait: other programs use them, or files come slowly; {_GOOD:.0%} is usual. {where}"


def _as_text(measured: Throughput, verification: VerificationTime | None) -> str:
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
    told = (
        f"{table(head, rows)}\n{images} images on {measured.cores} cores: {measured.efficiency:.0%} of the rate that "
        f"the stages' CPU time allows\n{_advice(measured)}"
    )
    if verification is None:
        return told
    return (
        f"{told}\nverification: {verification.milliseconds:.1f} ms for a query of {verification.query_cells} local "
        f"features and {verification.candidates} candidates of {verification.cells:.0f}"
    )
