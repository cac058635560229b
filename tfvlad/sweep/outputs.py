"""The folder of a sweep's results."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfvlad.storage.atomic import atomic_file

if TYPE_CHECKING:
    from tfvlad.sweep.results import Cell, Study

_CSV, _JSON, _FLAGFILE = "results.csv", "results.json", "best.flags"


def write_outputs(study: Study, folder: str, fit_on: Sequence[str], failures: Sequence[tuple[str, str]]) -> str:
    """Writes the table as CSV and JSON and the flagfile of the best encoder, each whole or not at all.

    Args:
      study: the results.
      folder: where to.
      fit_on: see `flagfile`.
      failures: (path, reason) of the images that could not be used.

    Returns:
      The text of the flagfile; empty where no setting has one.
    """
    from tfvlad.sweep.choice import ranked
    from tfvlad.sweep.figures import as_columns, as_json

    head, rows = as_columns(study)
    path = os.path.join(folder, _CSV)
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    _write(os.path.join(folder, _JSON), json.dumps(as_json(study, failures), indent=2) + "\n")
    best = next((cell for cell in ranked(study) if cell.setting.encoding == "vlad"), None)
    text = "" if best is None else flagfile(study, best, fit_on)
    path = os.path.join(folder, _FLAGFILE)
    if text:
        _write(path, text)
    else:
        with contextlib.suppress(FileNotFoundError):  # of a sweep with other encodings
            os.unlink(path)
    return text


def flagfile(study: Study, cell: Cell, fit_on: Sequence[str]) -> str:
    """The flags with which `tfvlad fit` makes the encoder of a VLAD's cell again.

    Args:
      study: whose settings all cells share.
      cell: a VLAD.
      fit_on: the folders that hold the images that were fitted on, and no others; none where there are no such.
    """
    config, setting = study.config, cell.setting
    backbone = os.path.abspath(config.backbone) if config.backbone.endswith(".keras") else config.backbone
    weights = os.path.abspath(config.weights) if config.weights.endswith(".h5") else config.weights
    given = [
        *(("images", os.path.abspath(path)) for path in fit_on),
        ("backbone", backbone),
        ("weights", weights),
        ("layer", setting.layer),
        *([("preprocessing", config.preprocessing)] if config.preprocessing else []),
        ("precision", config.precision),
        ("image_size", setting.image_size),
        ("resize", config.resize),
        ("clusters", setting.clusters),
        ("intra_norm", str(config.intra_norm).lower()),
        ("power", config.power),
        ("dim", setting.dim),
        ("codebook_samples", config.codebook_samples),
        ("whitening_samples", config.whitening_samples),
        ("max_pixels", config.max_pixels),
        ("seed", study.seed),
    ]
    lines = [f"--{name}={value}" for name, value in given]
    head = ["# tfvlad fit --flagfile=best.flags --encoder=FOLDER"]
    if not fit_on:
        head[0] += " --images=IMAGES"
        head += [
            "# No folder holds the images that were fitted on and no others. Make IMAGES, with links to them, named so",
            "# as to sort in their order; without --fit_on they are the database, in the order of the data set's list.",
        ]
    return "\n".join([*head, *lines, ""])


def _write(path: str, text: str) -> None:
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
