"""`tfvlad sweep`: which layer, scale and encoding, and which way to search, find a user's own images best."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from absl import flags

from tfvlad.commands._printing import note, print_json, report_failures, say, show, table
from tfvlad.commands._writing import check_outside, writing
from tfvlad.networks.requirements import check_network
from tfvlad.sweep.choice import several_processors
from tfvlad.sweep.image_folders import database_images, dataset_to_study, folders_of, title, unique_images
from tfvlad.sweep.output_folder import check_output, write_results
from tfvlad.sweep.search_tables import search_json, search_lines, search_reasons, search_rows
from tfvlad.sweep.tables import as_json, as_lines, as_reasons, as_rows
from tfvlad_flags import encoder, evaluation, paths
from tfvlad_flags import sweep as sweep_flags

if TYPE_CHECKING:
    from tfvlad.sweep import Needs, Study

OPERANDS = ""

_SHOWN = 20  # best settings that the table has; the files have all
_MUCH_DISK, _MUCH_MEMORY = 1e9, 4e9  # bytes; a sweep that takes less says nothing about it


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    evaluation.define_dataset(values)
    sweep_flags.define_images(values)
    sweep_flags.define(values)
    sweep_flags.define_searches(values)
    encoder.define_network(values)
    # Images of one size go through the network together, and fully connected layers take no others.
    encoder.define_encoding(values, resize="stretch")
    encoder.define_seed(values)
    paths.define_output(values, None, "The folder for results; needed. A sweep that was stopped goes on there.")
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    grid, searches = sweep_flags.grid(values), sweep_flags.search_grid(values)
    config = encoder.shared_config(values, max(grid.clusters))
    check_network(config, names_layer=False)
    check_outside(values.output)
    check_output(values.output)
    fit_on = unique_images(values.fit_on) if values.fit_on else None
    dataset = dataset_to_study(
        values.dataset, values.images or [], values.queries, values.ground_truth, values.query_boxes
    )
    images = database_images(values.images) if dataset is None else dataset.database
    fitted = fit_on or [image.path for image in images]
    folders = folders_of(fitted, values.fit_on or values.images)
    from tfvlad.reports.sweep import write_report
    from tfvlad.sweep import Sweep  # imports TensorFlow, for which no refusal should wait

    sweep = Sweep(grid, config, searches)

    def tell(needs: Needs) -> None:
        _tell(needs, values.output)

    if dataset is not None:
        study, failures = sweep.run(dataset, values.output, fit_on, values.seed, tell)
    else:
        study, failures = sweep.run_on_copies(
            images, values.proxy_queries, values.output, title(values.images), fit_on, values.seed, tell
        )
    with writing(values.output):
        flagfile = write_results(study, values.output, folders, failures)
        write_report(study, os.path.join(values.output, "report.html"), flagfile)
    if values.format == "json":
        print_json(as_json(study, failures) | search_json(study))
    else:
        _show(study, values.output)
    return report_failures(failures)


def _tell(needs: Needs, folder: str) -> None:
    """Says how much disk space and memory the sweep takes, if that is much."""
    if needs.disk >= _MUCH_DISK or needs.memory >= _MUCH_MEMORY:
        note(needs.in_words(folder))


def _show(study: Study, folder: str) -> None:
    """Prints the best settings, the reasons why some were not possible, and the claims of the paper."""
    head, rows = as_rows(study)
    show(table(head, rows[:_SHOWN]))
    if len(rows) > _SHOWN:
        say(f"... and {len(rows) - _SHOWN} more in {os.path.join(folder, 'results.csv')}")
    for lines in (filter(None, [several_processors(study)]), as_reasons(study), as_lines(study)):
        for number, line in enumerate(lines):
            if not number:
                show("")
            say(line)
    if study.searches:
        _show_searches(study, folder)
    show("")
    say(f"{os.path.join(folder, 'report.html')} shows the study")


def _show_searches(study: Study, folder: str) -> None:
    """Prints the best ways to search, the reasons why some were not possible, and what lifts the ranking."""
    head, rows = search_rows(study)
    show(f"\n{table(head, rows[:_SHOWN])}")
    if len(rows) > _SHOWN:
        say(f"... and {len(rows) - _SHOWN} more in {os.path.join(folder, 'search.csv')}")
    for lines in (search_reasons(study), search_lines(study)):
        for number, line in enumerate(lines):
            if not number:
                show("")
            say(line)
