"""What a network computes but for its weights: its layers' settings and connections, whatever the layers are called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras

_CONNECTED = ("keras_history", "input_layers", "output_layers")  # where a layer is referred to by its name


def architecture(model: keras.Model) -> Any:
    """Keras' own description of a model, as JSON, with each layer's place in it instead of its name."""
    return _unnamed(json.loads(model.to_json())["config"], {})


def _unnamed(value: Any, places: Mapping[str, int]) -> Any:
    if isinstance(value, list):
        return [_unnamed(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    if _is_graph(value):
        names = [layer.get("name", layer["config"].get("name")) for layer in value["layers"]]
        places = {name: place for place, name in enumerate(names)}
        value = {key: each for key, each in value.items() if key != "name"}
        value["layers"] = [_without_name(layer) for layer in value["layers"]]
    elif _is_layer(value):
        value = _without_name(value)
    return {key: _placed(each, places) if key in _CONNECTED else _unnamed(each, places) for key, each in value.items()}


def _without_name(layer: dict[str, Any]) -> dict[str, Any]:
    config = {key: each for key, each in layer["config"].items() if key != "name"}
    return {key: each for key, each in layer.items() if key != "name"} | {"config": config}


def _is_graph(value: dict[str, Any]) -> bool:
    """Whether this is the configuration of a model of layers, and not of a layer with some `layers` of its own."""
    layers = value.get("layers")
    return isinstance(layers, list) and all(
        isinstance(layer, dict) and isinstance(layer.get("config"), dict) for layer in layers
    )


def _is_layer(value: dict[str, Any]) -> bool:
    """Whether this describes a layer, and no other object: the name of a data type, for one, is all there is of it."""
    of_keras = str(value.get("module")).startswith("keras.layers")
    return isinstance(value.get("config"), dict) and (of_keras or value.get("registered_name") is not None)


def _placed(reference: Any, places: Mapping[str, int]) -> Any:
    """``["conv4_3", 0, 0]``, or lists and dictionaries of such."""
    if isinstance(reference, dict):
        return {key: _placed(each, places) for key, each in reference.items()}
    if isinstance(reference, list):
        return [_placed(each, places) for each in reference]
    return places.get(reference, reference)
