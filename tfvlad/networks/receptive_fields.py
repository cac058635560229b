"""Computes what one cell of a layer's map depends on in the image: stride and receptive field.

Arithmetic: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfvlad.networks.backbones import load_network
from tfvlad.networks.layers import map_layers
from tfvlad.networks.named import NAMED


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """One layer that local features can be taken from.

    Attributes:
      layer: its name.
      alias: the paper's name for it, or an empty string.
      stride: pixels between neighbouring cells.
      receptive_field: pixels, the larger side of what one cell depends on.
      channels: C, the length of a local feature.
    """

    layer: str
    alias: str
    stride: int
    receptive_field: int
    channels: int


def layer_facts(backbone: str) -> list[LayerFacts]:
    """Lists the layers of a network (a name or a ``.keras`` file), in the order of the data.

    Raises:
      ConfigError: there is no such network.
    """
    network = load_network(backbone, "random:0")
    aliases = {own: paper for paper, own in NAMED[backbone].aliases.items()} if backbone in NAMED else {}
    seen = _fields(network)
    facts = []
    for name, output in map_layers(network, backbone).items():
        if id(output) not in seen:  # it comes after the second use of a layer
            continue
        stride, field = seen[id(output)]
        facts.append(LayerFacts(name, aliases.get(name, ""), max(stride), max(field), int(output.shape[-1])))
    return facts


_Pair = tuple[int, int]


def _fields(network: keras.Model) -> dict[int, tuple[_Pair, _Pair]]:
    """Stride and receptive field, each (vertical, horizontal), by the identity of the symbolic tensor."""
    seen = {id(network.inputs[0]): ((1, 1), (1, 1))}
    for layer in network.layers:
        before = [seen[id(tensor)] for tensor in keras.tree.flatten(layer.input) if id(tensor) in seen]
        if not before:
            continue
        kernel, step = _window(layer)
        stride = _pairwise(_largest, *(stride for stride, _ in before))
        field = _pairwise(_largest, *(field for _, field in before))
        field = _pairwise(lambda size, width, jump: size + (width - 1) * jump, field, kernel, stride)
        for output in keras.tree.flatten(layer.output):
            seen[id(output)] = (_pairwise(lambda jump, by: jump * by, stride, step), field)
    return seen


def _window(layer: keras.Layer) -> tuple[_Pair, _Pair]:
    """(kernel, stride) of a layer, dilation counted in; (1, 1) for what works cell by cell."""
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", (1, 1)))
    step = getattr(layer, "strides", (1, 1))
    dilation = getattr(layer, "dilation_rate", (1, 1))
    return _pairwise(lambda width, gap: (width - 1) * gap + 1, kernel, dilation), _pairwise(int, step)


def _largest(*values: int) -> int:
    return max(values)


def _pairwise(function: Any, *pairs: Any) -> _Pair:
    vertical, horizontal = (function(*values) for values in zip(*pairs, strict=True))
    return vertical, horizontal
