"""`tfvlad search`: finds the images that show the same as each query."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from absl import flags

import tfvlad
from tfvlad.commands._failures import report_failures
from tfvlad.commands._table import table
from tfvlad.commands._targets import check_file, writing
from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import Query
from tfvlad.images.listing import image_paths
from tfvlad.serving import load_encoder
from tfvlad_flags import artifacts, output
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import search as search_flags

OPERANDS = "QUERY... (images, or folders of them)"


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    artifacts.define_index(values)
    artifacts.define_other_encoder(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define(values)
    output.define_format(values)
    output.define_html(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if not operands:
        raise ConfigError("which images to search for? give their paths behind the flags")
    queries = [path for operand in operands for path in _expand(operand)]
    if values.html:
        check_file(values.html)
    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        from tfvlad.evaluation.queries import encode_queries  # imports TensorFlow, for which no refusal should wait

        places, descriptors, failures = encode_queries(index.encoder, [Query(path) for path in queries])
        hits = index.search_descriptors(descriptors, values.k, values.exact)
    found = [queries[place] for place in places]
    if values.format == "json":
        print(json.dumps([_as_json(query, of_query) for query, of_query in zip(found, hits, strict=True)], indent=2))
    else:
        print("\n\n".join(_as_table(query, of_query) for query, of_query in zip(found, hits, strict=True)))
    if values.html:
        from tfvlad.evaluation.results import ResultHit, ResultRow
        from tfvlad.reports.results import write_results

        rows = [
            ResultRow(query, [ResultHit(hit.path, hit.score) for hit in of_query])
            for query, of_query in zip(found, hits, strict=True)
        ]
        with writing(values.html):
            write_results(values.html, rows)
    return report_failures(failures)


def _expand(operand: str) -> list[str]:
    return image_paths(operand) if os.path.isdir(operand) else [operand]


def _as_json(query: str, hits: Sequence[tfvlad.Hit]) -> dict[str, object]:
    return {"query": query, "hits": [{"path": hit.path, "score": round(hit.score, 6)} for hit in hits]}


def _as_table(query: str, hits: Sequence[tfvlad.Hit]) -> str:
    rows = [[str(rank), f"{hit.score:.4f}", hit.path] for rank, hit in enumerate(hits, start=1)]
    return f"{query}\n" + table(("rank", "score", "path"), rows)
