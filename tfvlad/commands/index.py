"""`tfvlad index`: brings an index in line with folders of images."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands import _fitting
from tfvlad.commands._printing import DONE, SOME_FAILED, note, print_json, report_failures, say
from tfvlad.commands._writing import writing
from tfvlad.errors import ConfigError
from tfvlad.images.listing import image_paths, in_words
from tfvlad.serving import load_encoder
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import index as index_flags
from tfvlad_flags import paths
from tfvlad_flags.search import define_engine

if TYPE_CHECKING:
    from tfvlad.cluster import EncodedFiles
    from tfvlad.encoding.interface import AnyEncoder
    from tfvlad.index import GraphRecall, IndexedFolder  # imports hnswlib, for which no help text should wait
    from tfvlad.matching import Calibration

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    index_flags.define_images(values)
    paths.define_index(values)
    define_engine(values)
    index_flags.define_engine(values)
    paths.define_encoder(values, required=False)
    encoder_flags.define(values, max_pixels=None)
    encoder_flags.define_seed(values)
    index_flags.define_kept(values)
    index_flags.define(values)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if values.report:
        with tfvlad.Index.open(values.index) as index:
            _print_account(index.folders(), values.format)
        return DONE
    if values["from"].value and values.engine != "local":
        raise ConfigError("--from encodes nothing, so --engine cannot be given with it")
    files = _encoded_files(values["from"].value)
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(_open_or_create(values, files))
        forgotten = {folder: index.forget(folder) for folder in values.forget}
        relocated = dict(index_flags.relocations(values))
        for old, new in relocated.items():
            index.relocate(old, new)
        encoder = files or _on_engine(values, index, stack)
        only = not values.images and bool(values.calibrate or forgotten or relocated)  # nothing to synchronise
        report = index.sync(
            [] if only else values.images or None,
            encoder,
            allow_empty=values.allow_empty,
            retry_failed=values.retry_failed,
            check_content=values.check_content,
            views=values.views,
            local_features=values.local_features,
        )
        size = len(index)
        calibration = index.calibrate() if values.calibrate else None
        verification = None if values.target_recall is None else index.verify(values.target_recall)
    counts = {name: getattr(report, name) for name in ("added", "updated", "removed", "unchanged")}
    for name in ("completed", "moved"):
        if count := getattr(report, name):
            counts[name] = count
    if values.format == "json":
        failed = [dataclasses.asdict(failure) for failure in report.failed]
        measured = {"verification": dataclasses.asdict(verification)} if verification else {}
        calibrated = {"thresholds": calibration.thresholds()} if calibration else {}
        changed = {name: them for name, them in (("forgotten", forgotten), ("relocated", relocated)) if them}
        others = {"passed_over": report.passed_over} if report.passed_over else {}
        print_json({**counts, "failed": failed, **measured, **calibrated, **changed, **others})
    else:
        for folder, count in forgotten.items():
            say(f"{count} images of {folder} removed from the index")
        for old, new in relocated.items():
            say(f"{old} is {new} now")
        told = "" if only else ", ".join(f"{count} {name}" for name, count in counts.items()) + "; "
        say(f"{told}{values.index} holds {size} images")
        if report.passed_over:
            say(f"passed over: {in_words(report.passed_over)}")
        if verification and verification.target_met:
            say(f"ef_search {verification.ef_search}: {_recall(verification)}")
        if calibration:
            say(_thresholds(calibration))
    status = report_failures(report.failed)
    if verification and not verification.target_met:
        note(
            f"--target_recall={values.target_recall:g} is out of reach: with ef_search {verification.ef_search},"
            f" {_recall(verification)}; a new index with larger --m and --ef_construction finds more"
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
        print_json([dataclasses.asdict(folder) for folder in folders])
        return
    for folder in folders:
        say(f"{folder.path}: {folder.files} indexed, {len(folder.failed)} failed")
        for failure in folder.failed:
            say(f"  {failure}")


def _encoded_files(folder: str | None) -> EncodedFiles | None:
    if folder is None:
        return None
    from tfvlad.cluster import EncodedFiles

    return EncodedFiles(folder)


def _on_engine(values: flags.FlagValues, index: tfvlad.Index, stack: contextlib.ExitStack) -> AnyEncoder | None:
    """The encoder on another engine, for as long as the stack is open; None where this process encodes."""
    if values.engine == "local":
        return None
    from tfvlad.cluster import RayEncoder

    cells = index.local_features if values.local_features is None else values.local_features
    return stack.enter_context(contextlib.closing(RayEncoder(index.encoder, values.engine, cells)))


def _open_or_create(values: flags.FlagValues, files: EncodedFiles | None) -> tfvlad.Index:
    there, given = _is_there(values.index), encoder_flags.given(values)
    if values.encoder == "":
        raise ConfigError("--encoder must be the folder or the URL of an encoder, and is empty")
    if given and (there or values.encoder):
        has = "has its encoder" if there else "gets the encoder of --encoder"
        raise ConfigError(f"{values.index} {has}: leave out --{', --'.join(given)}")
    if there:
        encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
        return tfvlad.Index.open(values.index, encoder, values.max_pixels, values.search)
    if not values.images:
        raise ConfigError(f"{values.index} does not exist yet: --images is needed to make it")
    if values.encoder is None:
        if files is not None:
            raise ConfigError(f"a new index of {files.folder} needs the encoder that it was made with: --encoder")
        return _create_with_new_encoder(values)
    for folder in values.images:  # a mistyped one must not leave an empty index behind
        if not (values.allow_empty and os.path.isdir(folder)):
            image_paths(folder)
    encoder = load_encoder(values.encoder, values.max_pixels)
    with writing(values.index):
        return _create(values, encoder, files)


def _create_with_new_encoder(values: flags.FlagValues) -> tfvlad.Index:
    files = _fitting.images_of(values.images)
    encoder, failures = _fitting.fit(values, files)
    with writing(values.index):
        index = _create(values, encoder)
    note(f"New encoder: {_fitting.in_words(encoder, len(files) - len(failures))}")
    return index


def _create(values: flags.FlagValues, encoder: AnyEncoder, files: EncodedFiles | None = None) -> tfvlad.Index:
    config, kept = index_flags.index_config(values), index_flags.kept(values)
    if files is not None:
        kept = {"views": files.views, "local_features": files.local_features} | kept
    return tfvlad.Index.create(values.index, encoder, config, search=values.search, **kept)


def _is_there(path: str) -> bool:
    return os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path))
