"""Computes what one cell of a layer's map depends on in the image: stride and receptive field.

Arithmetic: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

from tfvlad.named_networks import NAMED_NETWORKS
from tfvlad.networks.backbones import load_network
from tfvlad.networks.layers import first_use, map_layers, operations_of


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """One layer that local features can be taken from.

    Attributes:
      layer: its name.
      alias: the paper's name for it, or an empty string.
      stride: pixels between neighbouring cells.
      receptive_field: pixels, the larger side of what one cell depends on; None if that is the whole image. What a
        whole channel is weighted by (squeeze and excitation) is not counted.
      channels: C, the length of a local feature.
    """

    layer: str
    alias: str
    stride: int
    receptive_field: int | None
    channels: int


def layer_facts(backbone: str) -> list[LayerFacts]:
    """Lists the layers of a network (a name or a ``.keras`` file), in the order of the data.

    Raises:
      ConfigError: there is no such network.
    """
    network = load_network(backbone, "random:0")
    aliases = (
        {own: paper for paper, own in NAMED_NETWORKS[backbone].aliases.items()} if backbone in NAMED_NETWORKS else {}
    )
    seen = _fields(network)
    facts = []
    for name, output in map_layers(network, backbone).items():
        if id(output) not in seen:  # it comes after the second use of a layer
            continue
        stride, field = seen[id(output)]
        sees = None if math.isinf(max(field)) else int(max(field))
        facts.append(LayerFacts(name, aliases.get(name, ""), int(max(stride)), sees, int(output.shape[-1])))
    return facts


_Pair = tuple[float, float]


def _fields(network: keras.Model) -> dict[int, tuple[_Pair, _Pair]]:
    """Stride and receptive field, each (vertical, horizontal), by the identity of the symbolic tensor."""
    seen: dict[int, tuple[_Pair, _Pair]] = {id(network.inputs[0]): ((1, 1), (1, 1))}
    for layer in operations_of(network):
        inputs, outputs = first_use(layer)
        before = [seen[id(tensor)] for tensor in inputs if id(tensor) in seen]
        if not before:
            continue
        kernel, step = _window(layer)
        stride = _pairwise(_largest, *(stride for stride, _ in before))
        field = _pairwise(_largest, *(field for _, field in before))
        field = _pairwise(lambda size, width, jump: size + (width - 1) * jump, field, kernel, stride)
        for output in outputs:
            seen[id(output)] = (_pairwise(lambda jump, by: jump * by, stride, step), field)
    return seen


def _window(layer: keras.Operation) -> tuple[_Pair, _Pair]:
    """(kernel, stride) of a layer, dilation counted in; (1, 1) for what works cell by cell."""
    if isinstance(layer, keras.Model):
        stride, field = _fields(layer)[id(layer.outputs[0])]
        return field, stride
    kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", (1, 1)))
    step = getattr(layer, "strides", (1, 1))
    dilation = getattr(layer, "dilation_rate", (1, 1))
    return _pairwise(lambda width, gap: (width - 1) * gap + 1, kernel, dilation), _pairwise(int, step)


def _largest(*values: float) -> float:
    return max(values)


def _pairwise(function: Any, *pairs: Any) -> _Pair:
    vertical, horizontal = (function(*values) for values in zip(*pairs, strict=True))
    return vertical, horizontal
