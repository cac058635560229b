"""`tfvlad export`: writes an encoder as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

from absl import flags

import tfvlad
from tfvlad.commands._printing import DONE, say
from tfvlad.commands._writing import check_outside, writing
from tfvlad_flags import export, paths

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_encoder(values)
    export.define(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    from tfvlad.serving.saved_model import saved_model  # imports TensorFlow, for which no refusal should wait

    check_outside(values.output)
    encoder = tfvlad.Encoder.load(values.encoder, precision=values.precision)
    with writing(values.output):
        written = saved_model(encoder, values.output, values.version, values.xla)
    say(f"{written}: {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}")
    return DONE
