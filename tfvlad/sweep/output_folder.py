"""The output folder of a sweep: nobody else's, used by one sweep at a time, with the results as files at the end.

It holds finished cells, unfinished work, altered copies that serve as queries, ``results.csv``, ``results.json``, and
``best.flags``, the flagfile with which `tfvlad fit` makes the best encoder again. Where ways to search were tried, it
holds ``search.csv`` as well, and ``best_search.flags``, the flagfile of the best one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence

from tfvlad.errors import ConfigError, Failure
from tfvlad.storage.atomic import atomic_file
from tfvlad.storage.locks import sole_writer
from tfvlad.sweep.choice import ranked
from tfvlad.sweep.search_choice import ranked_searches
from tfvlad.sweep.search_tables import search_columns, search_flagfile, search_json
from tfvlad.sweep.study import Cell, Study
from tfvlad.sweep.tables import as_columns, as_json

CELLS, SCRATCH, SEARCHED, COPIES = "cells", "scratch", "search", "queries"  # sub-folders
MARKER = "tfvlad-sweep.txt"  # a folder with this file is known to be a sweep's; it is written first

_CSV, _JSON, _FLAGFILE = "results.csv", "results.json", "best.flags"
_SEARCH_CSV, _SEARCH_FLAGFILE = "search.csv", "best_search.flags"
_NOTE = "This folder is written by tfvlad's sweeps: the next one may replace or delete what is in it.\n"


def check_output(folder: str) -> None:
    """Refuses a folder that holds anything but an earlier sweep's files, before the work of a new sweep.

    Raises:
      ConfigError: names the folder and something in it.
    """
    if not os.path.lexists(folder):
        return
    if not os.path.isdir(folder):
        raise ConfigError(f"{folder} is not a folder; give one for the results that is empty or not there yet")
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # as files being written do
    if names and MARKER not in names:
        raise ConfigError(
            f"{folder} holds {names[0]} and is not of an earlier sweep; give a folder that is empty or new"
        )


@contextlib.contextmanager
def claimed(folder: str) -> Iterator[None]:
    """Marks a folder as a sweep's and keeps every other sweep out of it while this one is at work.

    Raises:
      ConfigError: see `check_output`.
      ArtifactError: another sweep is at work there.
    """
    check_output(folder)
    marker = os.path.join(folder, MARKER)
    if not os.path.exists(marker):
        _write(marker, _NOTE)
    with sole_writer(folder):
        yield


def write_results(study: Study, folder: str, fit_on: Sequence[str], failures: Sequence[Failure]) -> str:
    """Writes the results as CSV and JSON, and the flagfiles of the best; each file whole or not at all.

    Files of an earlier sweep for which this one has nothing are deleted.

    Args:
      study: the results.
      folder: the output folder.
      fit_on: see `flagfile`.
      failures: the images that could not be used.

    Returns:
      The text of the flagfile of the best encoder, which is that of the best way to search where some were tried; empty
      if no setting has a score.
    """
    found = ranked_searches(study)[:1]
    best = [cell for cell in ranked(study) if not found or cell.setting == found[0].setting][:1]
    text = flagfile(study, best[0], fit_on) if best else ""
    document = as_json(study, failures) | search_json(study)
    files = {
        _CSV: _csv_text(*as_columns(study)),
        _JSON: json.dumps(document, indent=2) + "\n",
        _FLAGFILE: text,
        _SEARCH_CSV: _csv_text(*search_columns(study)) if study.searches else "",
        _SEARCH_FLAGFILE: search_flagfile(found[0]) if found else "",
    }
    for name, content in files.items():
        path = os.path.join(folder, name)
        if content:
            _write(path, content)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    return text


def flagfile(study: Study, cell: Cell, fit_on: Sequence[str]) -> str:
    """The flags with which `tfvlad fit` makes the encoder of a cell again.

    Args:
      study: the cell's study.
      cell: the cell, with any encoding.
      fit_on: folders that hold exactly the images that were fitted on; empty if there are no such folders.
    """
    config, setting = study.config, cell.setting
    backbone = os.path.abspath(config.backbone) if config.backbone.endswith(".keras") else config.backbone
    weights = os.path.abspath(config.weights) if config.weights.endswith(".h5") else config.weights
    of_vlad = [
        ("clusters", setting.clusters),
        ("intra_norm", str(config.intra_norm).lower()),
        ("power", config.power),
        ("codebook_samples", config.codebook_samples),
    ]
    values = [
        *(("images", os.path.abspath(path)) for path in fit_on),
        ("backbone", backbone),
        ("weights", weights),
        *([("layer", setting.layer)] if setting.layer else []),
        *([("preprocessing", config.preprocessing)] if config.preprocessing else []),
        ("precision", config.precision),
        ("image_size", setting.image_size),
        ("resize", config.resize),
        ("encoding", setting.encoding),
        *(of_vlad if setting.encoding == "vlad" else []),
        ("dim", setting.dim),
        ("shrinkage", config.shrinkage),
        ("whitening_samples", config.whitening_samples),
        ("max_pixels", config.max_pixels),
        ("seed", study.seed),
    ]
    lines = [f"--{name}={value}" for name, value in values]
    head = ["# tfvlad fit --flagfile=best.flags --encoder=FOLDER"]
    if not fit_on:
        head[0] += " --images=IMAGES"
        head += [
            "# No folder holds the images that were fitted on and no others. Make a folder IMAGES of links to them.",
        ]
    return "\n".join([*head, *lines, ""])


def _csv_text(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([head, *rows])
    return text.getvalue()


def _write(path: str, text: str) -> None:
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write(text)
