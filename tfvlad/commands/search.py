"""`tfvlad search`: finds the images that show the same as each query."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._finding import check_verifier, finding, gone_files, hits_table, note_gone
from tfvlad.commands._printing import print_json, report_failures, show
from tfvlad.commands._queries import queries_of
from tfvlad.commands._writing import check_replaceable, check_writable, writing
from tfvlad.errors import ConfigError, Failure, ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.images import Box
from tfvlad.images.files import read_file
from tfvlad.progress import Progress
from tfvlad.serving import load_encoder
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import paths
from tfvlad_flags import search as search_flags

if TYPE_CHECKING:
    from tfvlad.evaluation.queries_and_results import Finding

Part = tuple[float, float, float, float]  # x, y, width and height in pixels

_EXPLAINED_QUERIES, _EXPLAINED_HITS = 20, 3  # on a page of results

OPERANDS = "QUERY... (images, folders, - for standard input; URLs with --fetch)"

_NOT_SERVED = (
    "encoder",
    "exact",
    "html",
    "max_pixels",
    "query_views",
    "reciprocal",
    "search",
    "verifier",
)  # with --server


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    search_flags.define_searched(values)
    paths.define_other_encoder(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define(values)
    search_flags.define_fetch(values)
    search_flags.define_engine(values)
    paths.define_format(values)
    paths.define_html(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if not operands:
        raise ConfigError("which images to search for? give their paths behind the flags")
    for name in _NOT_SERVED if values.server else ():
        if values[name].value != values[name].default:
            raise ConfigError(f"--{name} cannot be combined with --server, which searches as it was started")
    with queries_of(operands, values.fetch) as (names, failures):
        if not names:
            raise ConfigError(str(failures[0]) if failures else "there is no image in the folders of queries")
        if values.html:
            check_writable(values.html, list(names))
        try:
            failures += _search_served(values, names) if values.server else _search_here(values, names)
        except ConfigError as error:  # which may name a picture by the file that it is kept in
            raise ConfigError(_named(str(error), names)) from None
    return report_failures([Failure(names.get(failed.path, failed.path), failed.reason) for failed in failures])


def _search_here(values: flags.FlagValues, names: dict[str, str]) -> list[Failure]:
    """Searches an index's folder, and prints what is found; returns the queries that cannot be used."""
    check_verifier(values.verifier)
    part = search_flags.box(values)
    box = _corners(part)
    queries = [Query(path, box) for path in names]
    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels, values.search) as index:
        from tfvlad.evaluation import search_queries

        searched = search_queries(index, queries, values.k, **finding(values))
        found = [
            (queries[position].path, hits) for position, hits in zip(searched.positions, searched.hits, strict=True)
        ]
        gone = gone_files(hit for hits in searched.hits for hit in hits)
        _print(values, [(names[path], hits) for path, hits in found], gone)
        note_gone(values.index, gone)
        if values.html:
            _write_page(values.html, index, found, finding(values), part, _about(values.index, index))
    return searched.failures


def _search_served(values: flags.FlagValues, names: dict[str, str]) -> list[Failure]:
    """Lets a running service search, and prints what is found; returns the queries that cannot be used."""
    from tfvlad.serving.served_index import ServedIndex

    index = ServedIndex(values.server, values.index, paths.token(values))
    found, failures = [], []
    for path, name in Progress(names.items(), "Queries", len(names)):
        try:
            hits = index.search(
                read_file(path),
                values.k,
                box=search_flags.box(values),
                verify=values.verify,
                expand=values.expand,
                name=path,
            )
        except ImageError as error:
            failures.append(Failure.of(error))
        else:
            found.append((name, hits))
    if not found:
        raise ConfigError(str(failures[0]))
    _print(values, found, ())
    return failures


def _print(values: flags.FlagValues, found: Sequence[tuple[str, list[tfvlad.Hit]]], gone: Collection[str]) -> None:
    if values.format == "json":
        print_json([_as_json(query, hits, gone) for query, hits in found])
    else:
        show("\n\n".join(hits_table(query, hits, gone) for query, hits in found))


def _corners(part: Part | None) -> Box | None:
    """The part of a query by its upper left and its lower right corner."""
    return None if part is None else (part[0], part[1], part[0] + part[2], part[1] + part[3])


def _named(text: str, names: dict[str, str]) -> str:
    for path, name in names.items():
        text = text.replace(path, name)
    return text


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

    box = _corners(part)
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


def _as_json(query: str, hits: Sequence[tfvlad.Hit], gone: Collection[str]) -> dict[str, object]:
    from tfvlad.evaluation.queries_and_results import no_answer

    verified = any(hit.verdict is not None for hit in hits)
    answer = {"answered": no_answer(hits) is None} if verified else {}
    return {"query": query, **answer, "hits": [_hit_as_json(hit, gone) for hit in hits]}


def _hit_as_json(hit: tfvlad.Hit, gone: Collection[str]) -> dict[str, object]:
    told: dict[str, object] = {"path": hit.path, "score": round(hit.score, 6)}
    if hit.path in gone:
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
