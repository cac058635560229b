"""`tfvlad convert`: turns GoogLeNet's published weights, the only ones that need it, into a file for --weights."""

from __future__ import annotations

import dataclasses
import os

from absl import flags

from tfvlad.commands._printing import DONE, print_json, say
from tfvlad.commands._writing import check_writable, writing
from tfvlad.errors import ConfigError
from tfvlad_flags import convert, paths

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    convert.define(values)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if not values.output.endswith(".weights.h5"):
        raise ConfigError(f"--output must end in .weights.h5, got {values.output}")
    if os.path.lexists(values.output):
        raise ConfigError(f"{values.output} is there already; give another name, or delete it")
    check_writable(values.output)
    from tfvlad.networks.googlenet_weights import convert_weights  # imports Keras, for which no refusal should wait

    with writing(values.output):
        converted = convert_weights(values.weights, values.output)
    if values.format == "json":
        print_json({"output": values.output, **dataclasses.asdict(converted)})
        return DONE
    say(f"{values.output}: GoogLeNet trained with {converted.trained_with}, digest {converted.digest[:12]}")
    say(f"SHA-256 of {values.weights}: {converted.sha256}")
    say(f"Next: tfvlad fit --backbone googlenet --weights {values.output} --images FOLDER --encoder FOLDER")
    return DONE
