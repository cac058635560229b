"""`tfvlad search`: finds the images that show the same as each query."""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags

import tfvlad
from tfvlad.commands._printing import check_writable, print_json, report_failures, table, writing
from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import Query
from tfvlad.images.listing import image_paths
from tfvlad.serving import load_encoder
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import paths
from tfvlad_flags import search as search_flags

OPERANDS = "QUERY... (images, or folders of them)"


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_index(values)
    paths.define_other_encoder(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define(values)
    paths.define_format(values)
    paths.define_html(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if not operands:
        raise ConfigError("which images to search for? give their paths behind the flags")
    queries = [path for operand in operands for path in _expand(operand)]
    if values.html:
        check_writable(values.html)
    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        from tfvlad.evaluation import QueryResult, ResultHit, encode_queries

        encoded = encode_queries(index.encoder, [Query(path) for path in queries])
        hits = index.search_descriptors(encoded.descriptors, values.k, values.exact)
    found = list(zip((queries[position] for position in encoded.positions), hits, strict=True))
    if values.format == "json":
        print_json([_as_json(query, of_query) for query, of_query in found])
    else:
        print("\n\n".join(_as_table(query, of_query) for query, of_query in found))
    if values.html:
        from tfvlad.reports.results_page import write_results_page

        results = [
            QueryResult(query, [ResultHit(hit.path, hit.score) for hit in of_query]) for query, of_query in found
        ]
        with writing(values.html):
            write_results_page(values.html, results)
    return report_failures(encoded.failures)


def _expand(operand: str) -> list[str]:
    return image_paths(operand) if os.path.isdir(operand) else [operand]


def _as_json(query: str, hits: Sequence[tfvlad.Hit]) -> dict[str, object]:
    return {"query": query, "hits": [{"path": hit.path, "score": round(hit.score, 6)} for hit in hits]}


def _as_table(query: str, hits: Sequence[tfvlad.Hit]) -> str:
    rows = [[str(rank), f"{hit.score:.4f}", hit.path] for rank, hit in enumerate(hits, start=1)]
    return f"{query}\n" + table(("rank", "score", "path"), rows)
