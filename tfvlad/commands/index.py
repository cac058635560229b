"""`tfvlad index`: brings an index in line with folders of images."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._printing import DONE, SOME_FAILED, report_failures, writing
from tfvlad.errors import ConfigError
from tfvlad.images.listing import image_paths
from tfvlad.serving import load_encoder
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import index as index_flags
from tfvlad_flags import paths

if TYPE_CHECKING:
    from tfvlad.index import GraphRecall, IndexedFolder  # imports hnswlib, for which no help text should wait
    from tfvlad.matching import Calibration

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    index_flags.define_images(values)
    paths.define_index(values)
    paths.define_encoder(values, required=False)
    encoder_flags.define_max_pixels(values)
    index_flags.define_kept(values)
    index_flags.define(values)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if values.report:
        with tfvlad.Index.open(values.index) as index:
            _print_account(index.folders(), values.format)
        return DONE
    with _open_or_create(values) as index:
        report = index.sync(
            values.images or [],
            allow_empty=values.allow_empty,
            retry_failed=values.retry_failed,
            views=values.views,
            local_features=values.local_features,
        )
        size = len(index)
        calibration = index.calibrate() if values.calibrate else None
        verification = None if values.target_recall is None else index.verify(values.target_recall)
    counts = {name: getattr(report, name) for name in ("added", "updated", "removed", "unchanged")}
    if report.completed:
        counts["completed"] = report.completed
    if values.format == "json":
        failed = [dataclasses.asdict(failure) for failure in report.failed]
        measured = {"verification": dataclasses.asdict(verification)} if verification else {}
        calibrated = {"thresholds": calibration.thresholds()} if calibration else {}
        print(json.dumps({**counts, "failed": failed, **measured, **calibrated}, indent=2))
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()) + f"; {values.index} holds {size} images")
        if verification and verification.target_met:
            print(f"ef_search {verification.ef_search}: {_recall(verification)}")
        if calibration:
            print(_thresholds(calibration))
    status = report_failures(report.failed)
    if verification and not verification.target_met:
        print(
            f"--target_recall={values.target_recall:g} is out of reach: with ef_search {verification.ef_search},"
            f" {_recall(verification)}; a new index with larger --m and --ef_construction finds more",
            file=sys.stderr,
        )
        return SOME_FAILED
    return status


def _recall(verification: GraphRecall) -> str:
    found, queries = f"recall@{verification.k} is {verification.recall:.4f}", verification.queries
    return f"{found} for {queries} queries near the index's own images"


def _thresholds(calibration: Calibration) -> str:
    """Says how many local features must agree for each verdict."""
    least = [f"{count} for {verdict}" for verdict, count in calibration.thresholds().items() if count]
    measured = (
        f"measured on {calibration.pairs} pairs of {calibration.images} images"
        if calibration.images
        else ("not measured, as there are too few images")
    )
    return f"local features that must agree: {', '.join(least)} ({measured})"


def _print_account(folders: list[IndexedFolder], form: str) -> None:
    if form == "json":
        print(json.dumps([dataclasses.asdict(folder) for folder in folders], indent=2))
        return
    for folder in folders:
        print(f"{folder.path}: {folder.files} indexed, {len(folder.failed)} failed")
        for failure in folder.failed:
            print(f"  {failure}")


def _open_or_create(values: flags.FlagValues) -> tfvlad.Index:
    if _is_there(values.index):
        encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
        return tfvlad.Index.open(values.index, encoder, values.max_pixels)
    if not values.images:
        raise ConfigError(f"{values.index} does not exist yet: --images is needed to make it")
    if not values.encoder:
        raise ConfigError(f"{values.index} does not exist yet: --encoder is needed to make it")
    for folder in values.images:  # a mistyped one must not leave an empty index behind
        if not (values.allow_empty and os.path.isdir(folder)):
            image_paths(folder)
    encoder = load_encoder(values.encoder, values.max_pixels)
    with writing(values.index):
        return tfvlad.Index.create(values.index, encoder, index_flags.index_config(values), **index_flags.kept(values))


def _is_there(path: str) -> bool:
    return os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path))
