"""Small networks with random weights from a seed: real convolutions, without a download."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np


def save_tiny_network(path: Path, seed: int = 0, channels: int = 8) -> str:
    """Writes conv(3x3, /4) -> conv(3x3, /2) -> relu as a ``.keras`` file; layers ``first`` and ``second``."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(channels, 3, strides=4, padding="same", activation="relu", name="first")(inputs)
    x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu", name="second")(x)
    model = keras.Model(inputs, x)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.2, weight.shape) for weight in model.get_weights()])
    model.save(path)
    return str(path)
