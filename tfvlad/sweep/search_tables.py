"""The ways to search of a study as tables and text: rows to read, columns for programs (CSV), JSON, and a flagfile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfvlad.config import LOCAL_FEATURES
from tfvlad.storage.atomic import or_null
from tfvlad.sweep.choice import described as setting_in_words
from tfvlad.sweep.search_choice import described, ranked_searches, search_findings, search_intervals
from tfvlad.sweep.study import SearchCell, Study
from tfvlad.sweep.tables import json_of, lines_of, shown, span

_OF_SETTING = ("image_size", "layer", "encoding", "clusters", "dim")
_OF_SEARCH = ("views", "query_views", "verify", "verifier", "expand")


def search_rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table to read, the best way to search first; what was not possible comes last."""
    settings = {cell.setting for cell in study.searches}
    head = [*(["encoder"] if len(settings) > 1 else []), "index views", "query views", "verify", "verifier", "expand"]
    for protocol in study.protocols:
        of = f" ({protocol})" if len(study.protocols) > 1 else ""
        head += [f"{study.measure}{of}", f"95% interval{of}", f"recall@1{of}"]
    rows = []
    for cell, values in _values(study):
        row = [setting_in_words(cell.setting)] if len(settings) > 1 else []
        row += [str(values[name] or "-") for name in _OF_SEARCH]
        for protocol in study.protocols:
            quality = values["protocols"].get(protocol)
            row += (
                ["-", "", "-"]
                if quality is None
                else [shown(quality["score"]), span(quality["interval"]), shown(quality["recall_at_1"])]
            )
        costs = [f"{cell.ms_per_query:.1f}", f"{cell.bytes_per_image:.0f}"]
        rows.append([*row, *(["-", "-"] if cell.impossible else costs)])
    return [*head, "ms/query", "bytes/image"], rows


def search_reasons(study: Study) -> Iterator[str]:
    """The reasons why ways to search were not possible as lines of text, each with one of them."""
    cells: dict[str, list[SearchCell]] = {}
    for cell in study.searches:
        if cell.impossible:
            cells.setdefault(cell.impossible, []).append(cell)
    for reason, alike in cells.items():
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield f"not possible: {described(alike[0].search)}{more}: {reason}"


def search_lines(study: Study) -> Iterator[str]:
    """What lifts the ranking as lines of text, each claim followed by its comparisons."""
    return lines_of(search_findings(study))


def search_json(study: Study) -> dict[str, Any]:
    """The ways to search and what lifts the ranking as one JSON object; empty where none were tried."""
    if not study.searches:
        return {}
    searches = [values for _, values in _values(study)]
    return {"searches": searches, "search_findings": json_of(search_findings(study))}


def search_columns(study: Study) -> tuple[list[str], list[list[Any]]]:
    """The head and the rows of a table for programs (CSV): one row for each way to search and protocol."""
    head = [*_OF_SETTING, *_OF_SEARCH, "bytes_per_image", "ms_per_query", "processor", "impossible"]
    rows = []
    for _, values in _values(study):
        row = [values[name] for name in head]
        for protocol, quality in values["protocols"].items() or [("", None)]:
            of_protocol = [quality["score"], *quality["interval"], quality["recall_at_1"]] if quality else [None] * 4
            rows.append([*row, protocol, *of_protocol])
    return [*head, "protocol", study.measure, "low", "high", "recall_at_1"], rows


def search_flagfile(cell: SearchCell) -> str:
    """The flags with which `tfvlad search` and `tfvlad evaluate` search in the way of a cell."""
    way = cell.search
    kept = ["--encoder=FOLDER", f"--views={way.views}"]
    kept.append(f"--local_features={LOCAL_FEATURES}" if way.verifier == "cells" else "--nolocal_features")
    lines = [
        "# tfvlad search --flagfile=best_search.flags --index=INDEX QUERY",
        "# best.flags makes the encoder that it was found with, and the index comes from:",
        f"# tfvlad index --index=INDEX --images=IMAGES {' '.join(kept)}",
        f"--query_views={way.query_views}",
        f"--verify={way.verify}",
        *([f"--verifier={way.verifier}"] if way.verifier else []),
        f"--expand={way.expand}",
    ]
    return "\n".join([*lines, ""])


def _values(study: Study) -> Iterator[tuple[SearchCell, dict[str, Any]]]:
    """The cells with their values, the best first; those without a score come last."""
    best = ranked_searches(study)
    known = {(cell.setting, cell.search) for cell in best}
    cells = [*best, *(cell for cell in study.searches if (cell.setting, cell.search) not in known)]
    spans = {protocol: search_intervals(study, cells, protocol) for protocol in study.protocols}
    for number, cell in enumerate(cells):
        yield (
            cell,
            {
                **vars(cell.setting),
                **vars(cell.search),
                "bytes_per_image": cell.bytes_per_image,
                "ms_per_query": cell.ms_per_query,
                "processor": cell.processor,
                "impossible": cell.impossible,
                "protocols": {
                    protocol: {
                        "score": or_null(quality.score),
                        "interval": [or_null(end) for end in spans[protocol][number]],
                        "recall_at_1": or_null(quality.recall_at_1),
                    }
                    for protocol, quality in cell.qualities.items()
                },
            },
        )
