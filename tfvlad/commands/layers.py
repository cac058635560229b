"""`tfvlad layers`: the networks that go by a name, or the layers that a network offers local features from."""

from __future__ import annotations

import dataclasses

from absl import flags

from tfvlad.commands._printing import DONE, print_json, show, table
from tfvlad.named_networks import NAMED_NETWORKS
from tfvlad_flags import encoder, paths

OPERANDS = ""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    encoder.define_backbone(values, default=None)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if not values.backbone:
        return _list_networks(values.format)
    from tfvlad.networks.receptive_fields import layer_facts

    facts = layer_facts(values.backbone)
    if values.format == "json":
        print_json([dataclasses.asdict(fact) for fact in facts])
        return DONE
    head = ("layer", "in the paper", "stride", "receptive field", "channels")
    rows = [(f.layer, f.alias, f.stride, f.receptive_field or "whole image", f.channels) for f in facts]
    show(table(head, [[str(value) for value in row] for row in rows]))
    return DONE


def _list_networks(style: str) -> int:
    rows = [(name, n.layer, n.image_size, n.preprocessing) for name, n in NAMED_NETWORKS.items()]
    if style == "json":
        print_json([dict(zip(("backbone", "layer", "image_size", "preprocessing"), row, strict=True)) for row in rows])
        return DONE
    head = ("backbone", "default layer", "default image size", "preprocessing")
    show(table(head, [[str(value) for value in row] for row in rows]))
    show("\n`tfvlad layers --backbone NAME` lists the layers of one, and so it does for a .keras file")
    return DONE
