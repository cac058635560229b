"""`tfvlad evaluate`: measures the search against ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._finding import check_verifier, finding
from tfvlad.commands._printing import note, print_json, report_failures, show, table
from tfvlad.commands._writing import check_replaceable, check_writable, writing
from tfvlad.serving import load_encoder
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import evaluation as evaluation_flags
from tfvlad_flags import paths
from tfvlad_flags import search as search_flags

if TYPE_CHECKING:
    from tfvlad.evaluation.queries_and_results import Finding

OPERANDS = ""

_PAGE_HITS = 9  # hits of each query on the page


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_index(values)
    paths.define_other_encoder(values)
    evaluation_flags.define(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define_finding(values)
    paths.define_format(values)
    paths.define_html(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if values.html:
        check_writable(values.html)
    check_verifier(values.verifier)
    from tfvlad.evaluation import evaluate_index, load_queries_and_database
    from tfvlad.evaluation.summary import evaluation_page, json_document, metric_table
    from tfvlad.reports.evaluation_page import write_evaluation_page

    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        dataset, not_indexed = load_queries_and_database(
            index, values.dataset, values.queries, values.ground_truth, values.query_boxes
        )
        graph_hits = None if values.exact else values.graph_hits
        evaluation = evaluate_index(index, dataset, graph_hits, _PAGE_HITS, _asked_for(values, index))
    if values.format == "json":
        print_json(json_document(evaluation))
    else:
        show(table(*metric_table(evaluation)))
    if values.html:
        check_replaceable(values.html)
        with writing(values.html):
            write_evaluation_page(values.html, evaluation_page(evaluation))
    if dataset.lacking:
        note(f"Note: {dataset.lacking}")
    return report_failures([*not_indexed, *evaluation.failures])


def _asked_for(values: flags.FlagValues, index: tfvlad.Index) -> Finding | None:
    """Returns what is judged beside the descriptors' ranking; None where a search would give just that."""
    verifies = index.local_features > 0 if values.verify is None else values.verify > 0
    differs = verifies or values.query_views or values.expand or values.reciprocal
    return finding(values) if differs else None
