"""`tfvlad duplicates`: groups of files that show the same picture."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._printing import note, print_json, report_failures, show, table
from tfvlad.commands._writing import check_replaceable, check_writable, writing
from tfvlad_flags import paths

if TYPE_CHECKING:
    from tfvlad.index import Duplicate, Duplicates  # imports hnswlib, for which no help text should wait

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_index(values)
    paths.define_format(values)
    paths.define_html(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if values.html:
        check_writable(values.html)
    with tfvlad.Index.open(values.index) as index:
        found = index.duplicates()
    if values.format == "json":
        groups = [[_as_json(one) for one in group] for group in found.groups]
        print_json({"groups": groups, "failed": [dataclasses.asdict(failure) for failure in found.failed]})
    else:
        tables = [_group_table(number, group) for number, group in enumerate(found.groups, start=1)]
        show("\n\n".join([*tables, summary(found)]))
    for told in found.notes:
        note(told)
    if values.html:
        from tfvlad.reports.duplicates_page import write_duplicates_page

        check_replaceable(values.html)
        with writing(values.html):
            write_duplicates_page(values.html, found.groups, summary(found), found.notes)
    return report_failures(found.failed)


def summary(found: Duplicates) -> str:
    """Says how many groups there are, of how many files."""
    if not found.groups:
        return "No two files show the same picture."
    files = sum(map(len, found.groups))
    groups = "1 group" if len(found.groups) == 1 else f"{len(found.groups)} groups"
    return f"{groups} of the same picture, {files} files; {files - len(found.groups)} of them beside the first ones"


def _group_table(number: int, group: list[Duplicate]) -> str:
    return f"group {number}\n" + table(("kind", "how", "size", "inliers", "path"), [_row(one) for one in group])


def _row(one: Duplicate) -> tuple[str, ...]:
    size = "-" if one.size is None else f"{one.size[0]}x{one.size[1]}"
    return one.kind, one.how or "-", size, str(one.inliers or "-"), one.path


def _as_json(one: Duplicate) -> dict[str, object]:
    told = {name: value for name, value in dataclasses.asdict(one).items() if value is not None}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in told.items()}
