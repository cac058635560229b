"""Names for the results of a sweep.

A name is a digest of everything that shapes a result, so that a result that is stored under it need not be computed
again.

The versions of the libraries are part of the names, as rankings may change with them. The processor is not, so that a
sweep may go on elsewhere: it changes the milliseconds alone, and each cell says where they were measured.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvlad.config import EncoderConfig
from tfvlad.evaluation.datasets import Query
from tfvlad.images import loading as images
from tfvlad.images.files import read_regular
from tfvlad.networks.weights import weights_digest
from tfvlad.sweep._multi_layer_network import WholeNetwork
from tfvlad.sweep._plan import SizePlan, SweepTask
from tfvlad.sweep.grid import DescriptorKind

_VERSION = 6  # raised whenever the same settings give other cells
_CONNECTED = ("keras_history", "input_layers", "output_layers")  # where Keras refers to a layer by its name


class Keys:
    """The names of all results at one image size.

    Attributes:
      size: the name of what all settings at this size share.
    """

    def __init__(self, task: SweepTask, plan: SizePlan) -> None:
        """Computes what the names have in common.

        Which other kinds of descriptors are in the sweep is part of a name only as far as they shape this result.
        """
        dataset, config, network = task.dataset, task.config, plan.network
        self._config = config
        self._network = network
        self._digests: dict[str, str] = {}
        self._shared = digest(
            [
                [_VERSION, _libraries(), images.VERSION, plan.image_size, task.seed, network.preprocessing],
                [config.precision, config.resize, config.max_pixels, config.codebook_samples, config.whitening_samples],
                [file_stamp(query) for query in task.fit_on],
                [[image.id, *file_stamp(Query(image.path))] for image in dataset.database],
                [file_stamp(query) for query in dataset.queries],
                [dataset.measure, dataset.protocols],
                _influence_of_others(plan.kinds, config, len(task.fit_on)),
            ]
        )
        everything = network_digest(network, [*network.outputs])
        self.size = digest([self._shared, config.intra_norm, config.power, everything])

    def cell(self, kind: DescriptorKind, dim: int) -> str:
        """The name of a cell."""
        if kind.layer not in self._digests:
            self._digests[kind.layer] = network_digest(self._network, [kind.layer])
        vlad = [self._config.intra_norm, self._config.power] if kind.encoding == "vlad" else []
        shrinkage = [self._config.shrinkage] if dim and self._config.shrinkage else []
        return digest([self._shared, kind, self._digests[kind.layer], vlad, dim, *shrinkage])


def _influence_of_others(kinds: Sequence[DescriptorKind], config: EncoderConfig, fit_on: int) -> list[Any]:
    """What a cell owes to the other kinds of its sweep: the choice of the images that it is about."""
    # An image that is too narrow for one layer, or overflows in one, is left out of all.
    alike = config.resize == "stretch" and config.precision == "float32"
    layers = [] if alike else sorted({kind.layer for kind in kinds})
    # Where a pass for codebooks comes first, the images that it cannot read are no choice for the whitening.
    chosen = fit_on > config.whitening_samples and any(kind.encoding == "vlad" for kind in kinds)
    return [layers, chosen]


def digest(value: Any) -> str:
    """A name of 32 hexadecimal digits for a value that can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def file_stamp(image: Query) -> list[Any]:
    """Identifies an image, or a box of it, by the bytes of its file, wherever that lies, as JSON.

    A file that cannot be read is identified by its path.
    """
    try:
        status = os.stat(image.path)
        return [_content(image.path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns), image.box]
    except OSError:
        return [image.path, None]


@functools.lru_cache(maxsize=1 << 20)
def _content(path: str, *_: int) -> str:
    """The digest of a file's bytes; asked for again and again, they are read once while the file's status stays."""
    return hashlib.sha256(read_regular(path)[0]).hexdigest()


def _libraries() -> str:
    """The libraries that decide the last digits, such as ``TensorFlow 2.20, Keras 3.11, NumPy 2.2``."""
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__, "NumPy": np.__version__}
    return ", ".join(f"{name} {'.'.join(version.split('.')[:2])}" for name, version in versions.items())


def network_digest(network: WholeNetwork, layers: Sequence[str]) -> str:
    """A name for all that leads to these layers' outputs: the settings and connections of layers, and weights."""
    model = network.cut(layers)
    return digest([architecture(model), weights_digest(model)])


def architecture(model: keras.Model) -> Any:
    """Keras' own description of a model, as JSON, with each layer's position in the model instead of its name."""
    return _without_names(json.loads(model.to_json())["config"], {})


def _without_names(value: Any, positions: Mapping[str, int]) -> Any:
    if isinstance(value, list):
        return [_without_names(each, positions) for each in value]
    if not isinstance(value, dict):
        return value
    if _is_graph(value):
        names = [layer.get("name", layer["config"].get("name")) for layer in value["layers"]]
        positions = {name: position for position, name in enumerate(names)}
        value = {key: each for key, each in value.items() if key != "name"}
        value["layers"] = [_without_name(layer) for layer in value["layers"]]
    elif _is_layer(value):
        value = _without_name(value)
    return {
        key: _by_position(each, positions) if key in _CONNECTED else _without_names(each, positions)
        for key, each in value.items()
    }


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
    """Whether this describes a layer. Other objects keep their name: a data type, for one, is nothing but its name."""
    of_keras = str(value.get("module")).startswith("keras.layers")
    return isinstance(value.get("config"), dict) and (of_keras or value.get("registered_name") is not None)


def _by_position(reference: Any, positions: Mapping[str, int]) -> Any:
    """Replaces the layer's name in ``["conv4_3", 0, 0]``, or in lists and dictionaries of such references."""
    if isinstance(reference, dict):
        return {key: _by_position(each, positions) for key, each in reference.items()}
    if isinstance(reference, list):
        return [_by_position(each, positions) for each in reference]
    return positions.get(reference, reference)
