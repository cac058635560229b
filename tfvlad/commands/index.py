"""`tfvlad index`: brings an index in line with folders of images."""

from __future__ import annotations

import json
import os

from absl import flags

import tfvlad
from tfvlad.commands.failures import report_failures
from tfvlad.commands.targets import writing
from tfvlad.encoders import load_encoder
from tfvlad.errors import ConfigError
from tfvlad.folders import image_paths
from tfvlad_flags import artifacts, images, output
from tfvlad_flags import index as index_flags

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    images.define(values)
    artifacts.define_index(values)
    artifacts.define_encoder(values, required=False)
    index_flags.define(values)
    output.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    with _open_or_create(values) as index:
        report = index.sync(values.images, allow_empty=values.allow_empty, retry_failed=values.retry_failed)
        size = len(index)
    counts = {name: getattr(report, name) for name in ("added", "updated", "removed", "unchanged")}
    if values.format == "json":
        failed = [{"path": failure.path, "reason": failure.reason} for failure in report.failed]
        print(json.dumps({**counts, "failed": failed}, indent=2))
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()) + f"; {values.index} holds {size} images")
    return report_failures([(failure.path, failure.reason) for failure in report.failed])


def _open_or_create(values: flags.FlagValues) -> tfvlad.Index:
    if _is_there(values.index):
        return tfvlad.Index.open(values.index, load_encoder(values.encoder) if values.encoder else None)
    if not values.encoder:
        raise ConfigError(f"{values.index} does not exist yet: --encoder is needed to make it")
    for folder in values.images:  # a mistyped one must not leave an empty index behind
        if not (values.allow_empty and os.path.isdir(folder)):
            image_paths(folder)
    encoder = load_encoder(values.encoder)
    with writing(values.index):
        return tfvlad.Index.create(values.index, encoder, index_flags.index_config(values))


def _is_there(path: str) -> bool:
    return os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path))
