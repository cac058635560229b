"""`tfvlad evaluate`: measures the search against ground truth."""

from __future__ import annotations

import json

from absl import flags

import tfvlad
from tfvlad.commands.failures import report_failures
from tfvlad.commands.table import table
from tfvlad.encoders import load_encoder
from tfvlad_flags import artifacts, evaluation, output
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import search as search_flags

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    artifacts.define_index(values)
    artifacts.define_other_encoder(values)
    evaluation.define(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define_exact(values)
    output.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    from tfvlad.commands.figures import as_json, as_rows
    from tfvlad.commands.measuring import measure

    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        measured = measure(index, values.queries or values.dataset, values.ground_truth, values.exact)
    if values.format == "json":
        print(json.dumps(as_json(measured.evaluation), indent=2))
    else:
        print(table(("metric", "value"), as_rows(measured.evaluation)))
    return report_failures(measured.failures)
