"""How a study is shown: as rows of a table, the best setting first; its claims as lines; all of it as JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tfvlad.storage.json_files import or_null
from tfvlad.sweep.choice import described, ranked
from tfvlad.sweep.findings import findings
from tfvlad.sweep.results import Cell, Study
from tfvlad.sweep.statistics import intervals


def as_rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table for reading; settings that were not possible come last."""
    several = len(study.protocols) > 1
    head = ["layer", "px", "encoding", "K", "dim"]
    for protocol in study.protocols:
        of = f" ({protocol})" if several else ""
        head += [f"{study.measure}{of}", f"95% interval{of}", f"recall@1{of}"]
    rows = []
    for figures in _figures(study):
        setting = [figures["layer"] or "-", figures["image_size"], figures["encoding"], figures["clusters"] or ""]
        row = [*map(str, setting), str(figures["dim"] or "full")]
        for protocol in study.protocols:
            quality = figures["protocols"].get(protocol)
            row += (
                ["-", "", "-"]
                if quality is None
                else [_shown(quality["score"]), _span(quality["interval"]), _shown(quality["recall_at_1"])]
            )
        if figures["impossible"]:
            rows.append([*row, "-", "-", "-"])
        else:
            ms, size = figures["network_ms"] + figures["encoding_ms"], figures["bytes_per_image"]
            rows.append([*row, f"{ms:.1f}", str(size), f"{figures['encoder_bytes'] / 1e6:.1f}"])
    return [*head, "ms/image", "bytes/image", "encoder MB"], rows


def as_lines(study: Study) -> Iterator[str]:
    """The paper's claims, and beneath each its comparisons with figure and verdict."""
    for claim, compared in itertools.groupby(findings(study), lambda finding: finding.claim):
        yield claim
        for finding in compared:
            mean, low, high = finding.difference
            figures = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" if not math.isnan(low) else "too few queries;"
            yield f"  {figures} {finding.verdict}: {finding.comparison}"


def as_reasons(study: Study) -> Iterator[str]:
    """Why settings were not possible: each reason with one of them."""
    cells: dict[str, list[Cell]] = {}
    for cell in study.cells:
        if cell.impossible:
            cells.setdefault(cell.impossible, []).append(cell)
    for reason, alike in cells.items():
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield f"not possible: {described(alike[0].setting)}{more}: {reason}"


def as_json(study: Study, failures: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The whole study but for the rankings, as one JSON object."""
    return {
        "dataset": study.name,
        "measure": study.measure,
        "protocols": study.protocols,
        "proxy": study.proxy,
        "queries": len(study.queries),
        "database": len(study.database),
        "fit_on": study.fit_on,
        "seed": study.seed,
        "config": {
            name: value
            for name, value in vars(study.config).items()
            if name not in ("layer", "image_size", "clusters", "dim")
        },
        "layers": study.layers,
        "settings": list(_figures(study)),
        "findings": [
            {
                "claim": finding.claim,
                "comparison": finding.comparison,
                "difference": or_null(finding.difference.mean),
                "interval": [or_null(finding.difference.low), or_null(finding.difference.high)],
                "verdict": finding.verdict,
            }
            for finding in findings(study)
        ],
        "failed": [{"path": path, "reason": reason} for path, reason in failures],
    }


def as_columns(study: Study) -> tuple[list[str], list[list[Any]]]:
    """The head and the rows of a table for programs: one row for each setting and protocol."""
    head = ["image_size", "layer", "encoding", "clusters", "dim", "size", "bytes_per_image", "encoder_bytes"]
    head += [
        "network_ms",
        "encoding_ms",
        "processor",
        "impossible",
        "protocol",
        study.measure,
        "low",
        "high",
        "recall_at_1",
    ]
    rows = []
    for figures in _figures(study):
        setting = [figures[name] for name in head[: head.index("protocol")]]
        for protocol, quality in figures["protocols"].items() or [("", None)]:
            values = [quality["score"], *quality["interval"], quality["recall_at_1"]] if quality else [None] * 4
            rows.append([*setting, protocol, *values])
    return head, rows


def _figures(study: Study) -> Iterator[dict[str, Any]]:
    """Every setting's figures, the best first."""
    best = ranked(study)
    known = {cell.setting for cell in best}
    cells = [*best, *(cell for cell in study.cells if cell.setting not in known)]
    spans = {protocol: _intervals(study, cells, protocol) for protocol in study.protocols}
    for cell in cells:
        yield {
            **vars(cell.setting),
            "size": cell.size,
            "bytes_per_image": cell.bytes_per_image,
            "encoder_bytes": cell.encoder_bytes,
            "network_ms": cell.network_ms,
            "encoding_ms": cell.encoding_ms,
            "processor": cell.processor,
            "impossible": cell.impossible,
            "protocols": {
                protocol: {
                    "score": or_null(quality.score),
                    "interval": [or_null(end) for end in spans[protocol][id(cell)]],
                    "recall_at_1": or_null(quality.recall_at_1),
                }
                for protocol, quality in cell.qualities.items()
            },
        }


def _intervals(study: Study, cells: list[Cell], protocol: str) -> dict[int, tuple[float, float]]:
    """By the identity of the cell."""
    possible = [cell for cell in cells if protocol in cell.qualities]
    if not possible:
        return {}
    found = intervals(np.stack([cell.qualities[protocol].values for cell in possible]), study.seed)
    return {id(cell): span for cell, span in zip(possible, found, strict=True)}


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _span(ends: list[float | None]) -> str:
    low, high = ends
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
