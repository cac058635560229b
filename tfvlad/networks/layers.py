"""The layers of a network that features can be taken from, by their names or the paper's."""

from __future__ import annotations

import difflib
import re

import keras

from tfvlad.errors import ConfigError
from tfvlad.named_networks import NAMED_NETWORKS


def map_layers(network: keras.Model, backbone: str) -> dict[str, keras.KerasTensor]:
    """The layers, and operations such as the sum of two layers, whose output is a map of local features.

    Keras numbers unnamed ones by what else the process has built (``conv2d_94`` …). In the named networks they are
    counted from the network's own first one, so that a name means the same layer in every process.

    Returns:
      Layer name -> (B, h, w, C) symbolic output, in the order of the data.
    """
    outputs: dict[str, keras.KerasTensor] = {}
    first_numbers: dict[str, int] = {}
    for layer in operations_of(network):
        name = layer.name
        kind = re.sub("(?<!^)(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        numbered = re.fullmatch(kind + r"(?:_(\d+))?", name)
        if numbered and backbone in NAMED_NETWORKS:
            number = int(numbered[1] or 0)
            number -= first_numbers.setdefault(kind, number)
            name = f"{kind}_{number}" if number else kind
        _, results = first_use(layer)
        if len(results) == 1 and len(results[0].shape) == 4 and not isinstance(layer, keras.layers.InputLayer):
            outputs[name] = results[0]
    return outputs


def operations_of(network: keras.Model) -> list[keras.Operation]:
    """The layers of a network, and the operations between them, in the order of the data."""
    return list(getattr(network, "operations", network.layers))  # a `keras.Sequential` has layers only


def first_use(operation: keras.Operation) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
    """The inputs and outputs of a layer, or of another operation, in the first place where a network uses it.

    A network within a network has an input and an output of its own beside these.
    """
    node = operation._inbound_nodes[0]
    return node.input_tensors, node.outputs


def find_layer(network: keras.Model, backbone: str, name: str | None) -> tuple[str, keras.KerasTensor]:
    """Finds a layer by its name or by the paper's name for it.

    Args:
      network: from `load_network`.
      backbone: what it was loaded by.
      name: the layer; None is the named network's default.

    Returns:
      The layer's own name, and its (B, h, w, C) symbolic output.

    Raises:
      ConfigError: there is no such layer, or none was named; says which there are.
    """
    layers = map_layers(network, backbone)
    named = NAMED_NETWORKS.get(backbone)
    wanted = (name or named.layer) if named else name
    own = named.aliases.get(str(wanted), wanted) if named else wanted
    if own in layers:
        return str(own), layers[str(own)]
    there_are = f"the layers of {backbone} are: {_listing(list(layers))}"
    if wanted is None:
        raise ConfigError(f"layer must be given for {backbone}; {there_are}")
    close = difflib.get_close_matches(wanted, layers, n=1)
    raise ConfigError(f"layer {wanted!r} is not there{f', did you mean {close[0]!r}?' if close else ';'} {there_are}")


def fc_features(network: keras.Model, backbone: str) -> tuple[str, keras.KerasTensor]:
    """Finds the last features before a network's classifier.

    Args:
      network: from `load_network` with `with_fc`.
      backbone: what it was loaded by.

    Returns:
      The layer's name, and its symbolic output as a map of one cell, (B, 1, 1, D).

    Raises:
      ConfigError: the network has none.
    """
    name, output = _fc_layer(network, backbone)
    return name, keras.layers.Reshape((1, 1, int(output.shape[-1])))(output)


def _fc_layer(network: keras.Model, backbone: str) -> tuple[str, keras.KerasTensor]:
    if backbone in NAMED_NETWORKS:
        name = NAMED_NETWORKS[backbone].fc_layer
        if NAMED_NETWORKS[backbone].fc_size is not None:
            return name, network.get_layer(name).output
        return name, keras.layers.GlobalAveragePooling2D(name=name, dtype="float32")(network.outputs[-1])
    flat = [layer for layer in network.layers[:-1] if _is_vector(layer.output)]
    if not flat:
        raise ConfigError(
            f"encoding fc: {backbone} has no layer with (batch, features) before its last one, so no fc; "
            "vlad, mean, max and gem are possible"
        )
    return flat[-1].name, flat[-1].output


def _is_vector(output: object) -> bool:
    return isinstance(output, keras.KerasTensor) and len(output.shape) == 2


def _listing(names: list[str], most: int = 40) -> str:
    if len(names) <= most:
        return ", ".join(names)
    plain = [name for name in names if not re.match(r"(conv2d|batch_normalization|activation)", name)]
    return f"{', '.join(plain)} and {len(names) - len(plain)} more; the layers command lists them all"
