"""What the commands that search have in common: how they find, as their flags say, and a table of what is found."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._printing import note, table
from tfvlad.printable import printable

if TYPE_CHECKING:
    from tfvlad.evaluation.queries_and_results import Finding


def finding(values: flags.FlagValues) -> Finding:
    """Returns the arguments of a search that the flags of `tfvlad_flags.search.define_finding` ask for."""
    return {
        "exact": values.exact,
        "verify": values.verify,
        "query_views": values.query_views,
        "verifier": values.verifier,
        "expand": values.expand,
        "reciprocal": values.reciprocal,
    }


def check_verifier(verifier: str) -> None:
    """Checks, before any work, that the verifier that is asked for can be used.

    Raises:
      ConfigError: it is ``sift``, and OpenCV is not installed.
    """
    if verifier == "sift":
        from tfvlad.matching.sift import SiftVerifier

        SiftVerifier()


def gone_files(hits: Iterable[tfvlad.Hit]) -> set[str]:
    """The paths of those files that are no longer where they were indexed."""
    return {hit.path for hit in hits if not os.path.exists(hit.path)}


def note_gone(index: str, gone: Collection[str]) -> None:
    """Says how many of the files that were found are gone, and what to do."""
    if gone:
        files = "1 file that was found is" if len(gone) == 1 else f"{len(gone)} files that were found are"
        note(
            f"{files} gone: `tfvlad index --index {shlex.quote(index)}` brings the index up to date; "
            "where a folder has moved, add --relocate OLD=NEW"
        )


def hits_table(query: str, hits: Sequence[tfvlad.Hit], gone: Collection[str] = ()) -> str:
    """Returns a query and its hits as text: inliers and verdicts where there are any, and which files are gone."""
    from tfvlad.evaluation.queries_and_results import no_answer

    head, rows = ["rank", "score"], [[str(rank), f"{hit.score:.4f}"] for rank, hit in enumerate(hits, start=1)]
    if any(hit.verdict is not None for hit in hits):
        head += ["inliers", "verdict"]
        for row, hit in zip(rows, hits, strict=True):
            row += ["-", "-"] if hit.verdict is None else [str(hit.inliers), hit.verdict]
    for row, hit in zip(rows, hits, strict=True):
        row.append(f"{hit.path} (gone)" if hit.path in gone else hit.path)
    return "\n".join(filter(None, [printable(query), printable(no_answer(hits) or ""), table([*head, "path"], rows)]))
