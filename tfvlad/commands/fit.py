"""`tfvlad fit`: learns an encoder from folders of images."""

from __future__ import annotations

import collections

from absl import flags

from tfvlad.commands import _fitting
from tfvlad.commands._printing import report_failures, say
from tfvlad.commands._writing import check_outside, writing
from tfvlad.encoding.files import check_target
from tfvlad.images.listing import PassedOver, in_words
from tfvlad.networks.requirements import check_network
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
    check_network(encoder.encoder_config(values))
    passed_over: PassedOver = collections.Counter()
    files = _fitting.images_of(values.images, passed_over)
    check_target(values.encoder)
    check_outside(values.encoder)
    fitted, failures = _fitting.fit(values, files)
    with writing(values.encoder):
        fitted.save(values.encoder)
    say(f"{values.encoder}: {_fitting.in_words(fitted, len(files) - len(failures))}")
    if passed_over:
        say(f"passed over: {in_words(passed_over)}")
    return report_failures(failures)
