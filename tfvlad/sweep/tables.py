"""A study as tables and text: rows to read, columns for programs (CSV), JSON, and the claims as lines.

The tables of ways to search are in `tfvlad.sweep.search_tables`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tfvlad.errors import Failure
from tfvlad.storage.atomic import or_null
from tfvlad.sweep.choice import described, ranked, score_intervals
from tfvlad.sweep.findings import Finding, findings
from tfvlad.sweep.study import Cell, Study


def as_rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table to read, the best setting first; settings that were not possible come last."""
    several = len(study.protocols) > 1
    head = ["layer", "px", "encoding", "K", "dim"]
    for protocol in study.protocols:
        of = f" ({protocol})" if several else ""
        head += [f"{study.measure}{of}", f"95% interval{of}", f"recall@1{of}"]
    rows = []
    for values in _values(study):
        setting = [values["layer"] or "-", values["image_size"], values["encoding"], values["clusters"] or ""]
        row = [*map(str, setting), str(values["dim"] or "full")]
        for protocol in study.protocols:
            quality = values["protocols"].get(protocol)
            row += (
                ["-", "", "-"]
                if quality is None
                else [shown(quality["score"]), span(quality["interval"]), shown(quality["recall_at_1"])]
            )
        if values["impossible"]:
            rows.append([*row, "-", "-", "-"])
        else:
            ms, size = values["network_ms"] + values["encoding_ms"], values["bytes_per_image"]
            rows.append([*row, f"{ms:.1f}", str(size), f"{values['encoder_bytes'] / 1e6:.1f}"])
    return [*head, "ms/image", "bytes/image", "encoder MB"], rows


def as_lines(study: Study) -> Iterator[str]:
    """The claims of the paper as lines of text, each followed by its comparisons with difference and verdict."""
    yield from lines_of(findings(study))


def lines_of(found: Iterable[Finding]) -> Iterator[str]:
    """Claims as lines of text, each followed by its comparisons with difference and verdict."""
    for claim, compared in itertools.groupby(found, lambda finding: finding.claim):
        yield claim
        for finding in compared:
            mean, low, high = finding.difference
            figures = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" if not math.isnan(low) else "too few queries;"
            yield f"  {figures} {finding.verdict}: {finding.comparison}"


def as_reasons(study: Study) -> Iterator[str]:
    """The reasons why settings were not possible as lines of text, each with one of the settings."""
    cells: dict[str, list[Cell]] = {}
    for cell in study.cells:
        if cell.impossible:
            cells.setdefault(cell.impossible, []).append(cell)
    for reason, alike in cells.items():
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        yield f"not possible: {described(alike[0].setting)}{more}: {reason}"


def as_json(study: Study, failures: Iterable[Failure]) -> dict[str, Any]:
    """The whole study as one JSON object, without the rankings."""
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
        "settings": list(_values(study)),
        "findings": json_of(findings(study)),
        "failed": [{"path": failure.path, "reason": failure.reason} for failure in failures],
    }


def json_of(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """Comparisons as values that JSON knows."""
    return [
        {
            "claim": finding.claim,
            "comparison": finding.comparison,
            "difference": or_null(finding.difference.mean),
            "interval": [or_null(finding.difference.low), or_null(finding.difference.high)],
            "verdict": finding.verdict,
        }
        for finding in found
    ]


def as_columns(study: Study) -> tuple[list[str], list[list[Any]]]:
    """The head and the rows of a table for programs (CSV): one row for each setting and protocol."""
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
    for values in _values(study):
        setting = [values[name] for name in head[: head.index("protocol")]]
        for protocol, quality in values["protocols"].items() or [("", None)]:
            of_protocol = [quality["score"], *quality["interval"], quality["recall_at_1"]] if quality else [None] * 4
            rows.append([*setting, protocol, *of_protocol])
    return head, rows


def _values(study: Study) -> Iterator[dict[str, Any]]:
    """The values of each setting, the best first; settings without a score come last."""
    best = ranked(study)
    known = {cell.setting for cell in best}
    cells = [*best, *(cell for cell in study.cells if cell.setting not in known)]
    spans = {protocol: score_intervals(study, protocol) for protocol in study.protocols}
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
                    "interval": [or_null(end) for end in spans[protocol][cell.setting]],
                    "recall_at_1": or_null(quality.recall_at_1),
                }
                for protocol, quality in cell.qualities.items()
            },
        }


def shown(value: float | None) -> str:
    """A score in a table to read."""
    return "-" if value is None else f"{value:.4f}"


def span(ends: Sequence[float | None]) -> str:
    """A confidence interval in a table to read; empty where there is none."""
    low, high = ends
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
