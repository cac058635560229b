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
    layers = value.get("layers")
    if layers is None:
        return {
            key: _placed(each, places) if key in _CONNECTED else _unnamed(each, places) for key, each in value.items()
        }
    names = [layer["config"]["name"] for layer in layers]  # a Sequential has them only there
    places = {name: place for place, name in enumerate(names)}
    model = {key: each for key, each in value.items() if key not in ("name", "layers")}
    return {**_unnamed(model, places), "layers": [_unnamed(_without_name(layer), places) for layer in layers]}


def _without_name(layer: dict[str, Any]) -> dict[str, Any]:
    """Of a layer, and of no other object: the name of a data type, for one, is all that there is of it."""
    config = {key: each for key, each in layer["config"].items() if key != "name"}
    return {key: each for key, each in layer.items() if key != "name"} | {"config": config}


def _placed(reference: Any, places: Mapping[str, int]) -> Any:
    """``["conv4_3", 0, 0]``, or lists and dictionaries of such."""
    if isinstance(reference, dict):
        return {key: _placed(each, places) for key, each in reference.items()}
    if isinstance(reference, list):
        return [_placed(each, places) for each in reference]
    return places.get(reference, reference)
