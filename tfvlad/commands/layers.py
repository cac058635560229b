"""`tfvlad layers`: what local features a network offers."""

from __future__ import annotations

import dataclasses

from absl import flags

from tfvlad.commands._printing import DONE, print_json, show, table
from tfvlad_flags import encoder, paths

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    encoder.define_backbone(values)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    from tfvlad.networks.receptive_fields import layer_facts

    facts = layer_facts(values.backbone)
    if values.format == "json":
        print_json([dataclasses.asdict(fact) for fact in facts])
        return DONE
    head = ("layer", "in the paper", "stride", "receptive field", "channels")
    show(table(head, [[str(value) for value in dataclasses.astuple(fact)] for fact in facts]))
    return DONE
