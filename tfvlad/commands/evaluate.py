"""`tfvlad evaluate`: measures the search against ground truth."""

from __future__ import annotations

import json

from absl import flags

import tfvlad
from tfvlad.commands.failures import report_failures
from tfvlad.commands.queries import encode_queries
from tfvlad.commands.table import table
from tfvlad.datasets import DatabaseImage, plain_folder
from tfvlad.metrics import Evaluation, evaluate
from tfvlad_flags import artifacts, evaluation, output
from tfvlad_flags import search as search_flags

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    artifacts.define_index(values)
    evaluation.define(values)
    search_flags.define_exact(values)
    output.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    with tfvlad.Index.open(values.index) as index:
        database = [DatabaseImage(name, path, image) for image, name, path in index.images()]
        dataset = plain_folder(values.queries or values.dataset, database, values.ground_truth)
        found, descriptors, failures = encode_queries(index.encoder, dataset.queries)
        truth = dict(zip(dataset.queries, dataset.ground_truth))
        rankings = [
            [hit.id for hit in hits] for hits in index.search_descriptors(descriptors, len(database), values.exact)
        ]
    result = evaluate(rankings, [truth[path] for path in found])
    print(json.dumps(as_json(result), indent=2) if values.format == "json" else as_table(result))
    return report_failures(failures)


def as_json(result: Evaluation) -> dict[str, object]:
    """The metrics as one JSON object."""
    return {
        "queries": result.queries,
        "map": result.map,
        "mrr": result.mrr,
        "recall_at": {str(k): value for k, value in result.recall_at.items()},
        "mean_precision_at": {str(k): value for k, value in result.mean_precision_at.items()},
    }


def as_table(result: Evaluation) -> str:
    """The metrics as a table."""
    rows = [["queries", str(result.queries)], ["mAP", f"{result.map:.4f}"], ["MRR", f"{result.mrr:.4f}"]]
    rows += [[f"recall@{k}", f"{value:.4f}"] for k, value in result.recall_at.items()]
    rows += [[f"mP@{k}", f"{value:.4f}"] for k, value in result.mean_precision_at.items()]
    return table(("metric", "value"), rows)
