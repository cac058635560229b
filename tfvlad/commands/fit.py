"""`tfvlad fit`: learns an encoder from folders of images."""

from __future__ import annotations

import os

from absl import flags

import tfvlad
from tfvlad.commands._failures import report_failures
from tfvlad.commands._targets import writing
from tfvlad.errors import Failure
from tfvlad.images.listing import image_paths
from tfvlad_flags import artifacts, encoder, fitting, images

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    images.define(values)
    artifacts.define_encoder(values)
    encoder.define(values)
    fitting.define(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    config = encoder.encoder_config(values)
    # An image counts once, whatever folders and links lead to it.
    paths = {os.path.realpath(path): path for folder in values.images for path in image_paths(folder)}
    from tfvlad.encoding.files import check_target  # imports Keras, for which no refusal should wait

    check_target(values.encoder)
    failures: list[Failure] = []
    fitted = tfvlad.Encoder.fit(
        paths.values(), config, values.seed, on_error=lambda error: failures.append(Failure.of(error))
    )
    with writing(values.encoder):
        fitted.save(values.encoder)
    config = fitted.config
    encoding = f"{config.clusters} clusters" if config.encoding == "vlad" else fitted.aggregation.name
    print(
        f"{values.encoder}: {config.backbone} {config.layer}, {config.image_size} px, {encoding}, "
        f"{fitted.dim} dimensions, fitted on {len(paths) - len(failures)} images, fingerprint {fitted.fingerprint[:12]}"
    )
    return report_failures(failures)
