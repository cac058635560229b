"""`tfvlad fit`: learns an encoder from folders of images."""

from __future__ import annotations

import os
import sys

from absl import flags

import tfvlad
from tfvlad.commands._printing import report_failures, writing
from tfvlad.encoding.files import check_target
from tfvlad.errors import Failure
from tfvlad.images.listing import image_paths
from tfvlad_flags import encoder, paths

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_images(values)
    paths.define_encoder(values)
    encoder.define(values)
    encoder.define_seed(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    config = encoder.encoder_config(values)
    # An image counts once, whatever folders and links lead to it.
    files = {os.path.realpath(path): path for folder in values.images for path in image_paths(folder)}
    check_target(values.encoder)
    failures: list[Failure] = []
    fitted = tfvlad.Encoder.fit(
        files.values(),
        config,
        values.seed,
        on_error=lambda error: failures.append(Failure.of(error)),
        fewer_dims=not values["dim"].present,
    )
    if config.dim is not None and fitted.dim < config.dim:
        print(
            f"Note: {len(files) - len(failures)} images allow {fitted.dim} dimensions at most; fitted on more than "
            f"{config.dim} images, an encoder has {config.dim}",
            file=sys.stderr,
        )
    with writing(values.encoder):
        fitted.save(values.encoder)
    config = fitted.config
    encoding = f"{config.clusters} clusters" if config.encoding == "vlad" else fitted.aggregation.name
    print(
        f"{values.encoder}: {config.backbone} {config.layer}, {config.image_size} px, {encoding}, "
        f"{fitted.dim} dimensions, fitted on {len(files) - len(failures)} images, fingerprint {fitted.fingerprint[:12]}"
    )
    return report_failures(failures)
