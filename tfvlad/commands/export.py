"""`tfvlad export`: writes an encoder, or an index with its encoder, as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from absl import flags

import tfvlad
from tfvlad.commands._printing import DONE, say
from tfvlad.commands._writing import check_outside, writing
from tfvlad.errors import ConfigError
from tfvlad_flags import export

if TYPE_CHECKING:
    from tfvlad.encoding.encoder import Encoder

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    export.define(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    from tfvlad.serving.saved_model import saved_model  # imports TensorFlow, for which no refusal should wait

    check_outside(values.output)
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(tfvlad.Index.open(values.index)) if values.index else None
        encoder = _encoder_of(index, values.index) if index else _load(values)
        with writing(values.output):
            written = saved_model(encoder, values.output, values.version, values.xla, index)
        found = f", searches {len(index):,} files" if index else ""
    say(f"{written}: {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}{found}")
    return DONE


def _load(values: flags.FlagValues) -> Encoder:
    return tfvlad.Encoder.load(values.encoder, precision=values.precision)


def _encoder_of(index: tfvlad.Index, path: str) -> Encoder:
    encoder = index.encoder
    if not isinstance(encoder, tfvlad.Encoder):
        raise ConfigError(f"{path} was made with a served encoder, which cannot be exported from here")
    return encoder
