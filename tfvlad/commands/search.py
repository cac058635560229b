"""`tfvlad search`: finds the images that show the same as each query."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._finding import check_verifier, finding, hits_table, note_gone
from tfvlad.commands._printing import print_json, report_failures, show
from tfvlad.commands._writing import check_replaceable, check_writable, writing
from tfvlad.errors import ConfigError, ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.images.listing import image_paths
from tfvlad.serving import load_encoder
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import paths
from tfvlad_flags import search as search_flags

if TYPE_CHECKING:
    from tfvlad.evaluation.queries_and_results import Finding

Part = tuple[float, float, float, float]  # x, y, width and height in pixels

_EXPLAINED_QUERIES, _EXPLAINED_HITS = 20, 3  # on a page of results

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
        check_writable(values.html, queries)
    check_verifier(values.verifier)
    part = search_flags.box(values)
    box = None if part is None else (part[0], part[1], part[0] + part[2], part[1] + part[3])
    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        from tfvlad.evaluation import search_queries

        searched = search_queries(index, [Query(path, box) for path in queries], values.k, **finding(values))
        found = list(zip((queries[position] for position in searched.positions), searched.hits, strict=True))
        if values.format == "json":
            print_json([_as_json(query, of_query) for query, of_query in found])
        else:
            show("\n\n".join(hits_table(query, of_query) for query, of_query in found))
        note_gone(values.index, (hit for hits in searched.hits for hit in hits))
        if values.html:
            _write_page(values.html, index, found, finding(values), part, _about(values.index, index))
    return report_failures(searched.failures)


def _expand(operand: str) -> list[str]:
    return image_paths(operand) if os.path.isdir(operand) else [operand]


def _write_page(
    path: str,
    index: tfvlad.Index,
    found: Sequence[tuple[str, list[tfvlad.Hit]]],
    finding: Finding,
    part: Part | None,
    about: str,
) -> None:
    """Writes the page of results; the first verified hits of the first queries are explained on it."""
    from tfvlad.evaluation import QueryResult, ResultHit
    from tfvlad.evaluation.queries_and_results import no_answer
    from tfvlad.reports.explanation_page import ExplainedMatch
    from tfvlad.reports.results_page import write_results_page

    box = None if part is None else (part[0], part[1], part[0] + part[2], part[1] + part[3])
    explained: dict[tuple[str, str], tfvlad.Hit] = {}
    for query, hits in found[:_EXPLAINED_QUERIES]:
        explained |= {
            (query, hit.path): hit
            for rank, hit in enumerate(hits[:_EXPLAINED_HITS])
            if hit.inliers and (rank == 0 or hit.verdict != "different")
        }

    def explain(result: QueryResult, shown: ResultHit) -> ExplainedMatch | None:
        hit = explained.get((result.query, shown.path))
        if hit is None:
            return None
        try:
            told = index.explain(result.query, hit, box=part, verifier=finding.get("verifier", "cells"), shares=False)
        except (ConfigError, ImageError):  # a file that is gone by now; its tile says so
            return None
        return ExplainedMatch.of(result.query, told) if len(told.cells) else None

    results = (
        QueryResult(
            query,
            [ResultHit(hit.path, hit.score, None, hit.inliers, hit.verdict) for hit in hits],
            box,
            unanswered=no_answer(hits),
        )
        for query, hits in found
    )
    check_replaceable(path, [query for query, _ in found])
    with writing(path):
        write_results_page(path, results, notes=[about], explain=explain)


def _about(path: str, index: tfvlad.Index) -> str:
    """Says which index was searched, and when."""
    when = time.strftime("%Y-%m-%d at %H:%M")
    return f"Index {path}: {len(index):,} images, made by encoder {index.fingerprint[:12]}. Searched on {when}."


def _as_json(query: str, hits: Sequence[tfvlad.Hit]) -> dict[str, object]:
    from tfvlad.evaluation.queries_and_results import no_answer

    verified = any(hit.verdict is not None for hit in hits)
    answer = {"answered": no_answer(hits) is None} if verified else {}
    return {"query": query, **answer, "hits": [_hit_as_json(hit) for hit in hits]}


def _hit_as_json(hit: tfvlad.Hit) -> dict[str, object]:
    told: dict[str, object] = {"path": hit.path, "score": round(hit.score, 6)}
    if not os.path.exists(hit.path):
        told["gone"] = True
    if hit.verdict is not None:
        told |= {
            "inliers": hit.inliers,
            "verdict": hit.verdict,
            "probability": None if hit.probability is None else round(hit.probability, 6),
            "view": hit.view,
            "box": None if hit.box is None else [round(side, 1) for side in hit.box],
        }
    return told
