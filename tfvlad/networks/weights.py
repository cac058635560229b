"""Puts weights into a network, ImageNet's, a file's or seeded random ones, and computes their digest."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfvlad.errors import WeightsError
from tfvlad.named_networks import NAMED_NETWORKS


def build_with_weights(name: str, weights: str, top: bool = False) -> keras.Model:
    """Builds a network that goes by a name, for any input size, if it can be, and without its classifier.

    Args:
      name: one of `tfvlad.named_networks.NAMED_NETWORKS`.
      weights: ``imagenet`` (through Keras' own download and cache), ``random:SEED``, or the path of a ``.h5`` or
        ``.weights.h5`` file, or for DINOv2 of a folder that holds a preset of KerasHub.
      top: whether to build the classifier as well; the network then takes only the input size of its training.

    Raises:
      WeightsError: the weights cannot be had. They are never silently replaced by others.
    """
    named = NAMED_NETWORKS[name]
    module, function = named.builder.split(":")
    build: Callable[..., keras.Model] = getattr(importlib.import_module(module), function)
    side = named.fixed_size
    shape: dict[str, Any] = {"include_top": True} if top else {"include_top": False, "input_shape": (side, side, 3)}
    from_preset = named.from_keras_hub and os.path.isdir(weights)
    if weights == "imagenet" or from_preset:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # Keras reports a download on standard output
                return build(weights=weights, **shape)
        except Exception as error:
            trained = "ImageNet" if named.builder.startswith("keras.") else weights if from_preset else "published"
            raise WeightsError(
                f"{trained} weights of {name} cannot be had ({first_line(error)}): give --weights=FILE with "
                "weights fetched elsewhere or --weights=random:0, or another network with --backbone=FILE.keras"
            ) from None
    network = build(weights=None, **shape)
    if weights.startswith("random:"):
        _set_random(network, weights.removeprefix("random:"))
    else:
        _load_file(network, weights)
    return network


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of the kinds of a model's layers and of all their weights.

    Raises:
      WeightsError: a weight is NaN or infinite.
    """
    digest = hashlib.sha256()
    for layer in model.layers:
        digest.update(f"{type(layer).__name__}\n".encode())
        for value in layer.get_weights():
            if not np.isfinite(value).all():
                raise WeightsError(f"the weights of layer {layer.name} hold NaN or infinite values")
            digest.update(f"{value.shape} {value.dtype}\n".encode())
            digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _load_file(network: keras.Model, path: str) -> None:
    if not path.endswith(".h5"):
        raise WeightsError(f"weights must be imagenet, random:SEED, or a .h5 or .weights.h5 file, got {path!r}")
    if not os.path.isfile(path):
        raise WeightsError(f"weights {path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns of layers that it leaves at their random start
            network.load_weights(path)
    except Exception as error:
        raise WeightsError(
            f"weights {path}: not the weights of {network.name} without its top ({first_line(error)})"
        ) from None


def _set_random(network: keras.Model, seed: str) -> None:
    """Fills kernels with He-normal values (He et al. 2015); all others are neutral, or stay as the network has them.

    NumPy's generator gives the same values on every machine.
    """
    if not seed.isdecimal():
        raise WeightsError(f"weights random:SEED needs a whole number as SEED, got {seed!r}")
    generator = np.random.default_rng(int(seed))
    for variable in network.weights:
        if not variable.trainable:
            continue
        if len(variable.shape) > 1:
            depthwise = len(variable.shape) == 4 and variable.shape[-1] == 1
            deviation = np.sqrt(2.0 / np.prod(variable.shape[: 2 if depthwise else -1]))
            variable.assign(generator.standard_normal(variable.shape, np.float32) * np.float32(deviation))
        elif variable.path.rsplit("/", 1)[-1] == "gamma":
            variable.assign(np.ones(variable.shape, np.float32))


def first_line(error: BaseException) -> str:
    """The first line of a library's error message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
