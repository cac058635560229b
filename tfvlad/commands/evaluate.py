"""`tfvlad evaluate`: measures the search against ground truth."""

from __future__ import annotations

import json
import sys

from absl import flags

import tfvlad
from tfvlad.commands._failures import report_failures
from tfvlad.commands._table import table
from tfvlad.commands._targets import check_file, writing
from tfvlad.serving import load_encoder
from tfvlad_flags import artifacts, evaluation, output
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import search as search_flags

OPERANDS = ""

_SHOWN = 9  # hits of a query on the page


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    artifacts.define_index(values)
    artifacts.define_other_encoder(values)
    evaluation.define(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define_exact(values)
    output.define_format(values)
    output.define_html(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if values.html:
        check_file(values.html)
    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        from tfvlad.evaluation.selection import asked_dataset

        dataset, absent = asked_dataset(index, values.dataset, values.queries, values.ground_truth, values.query_boxes)
        from tfvlad.evaluation.figures import (  # imports TensorFlow, for which no refusal should wait
            as_columns,
            as_json,
        )
        from tfvlad.evaluation.measuring import measure

        measured = measure(index, dataset, None if values.exact else values.graph_hits, _SHOWN)
    if values.format == "json":
        print(json.dumps(as_json(measured), indent=2))
    else:
        print(table(*as_columns(measured)))
    if values.html:
        from tfvlad.evaluation.pages import evaluation_page
        from tfvlad.reports.evaluation import write_evaluation

        with writing(values.html):
            write_evaluation(values.html, evaluation_page(measured))
    if dataset.lacking:
        print(f"Note: {dataset.lacking}", file=sys.stderr)
    return report_failures([*absent, *measured.failures])
