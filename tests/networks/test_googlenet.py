"""GoogLeNet's layers and shapes, judged by what was published of it and by slow formulas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from helpers import published_googlenet as published

from tfvlad.config import EncoderConfig
from tfvlad.networks.backbones import load_backbone, load_network
from tfvlad.networks.googlenet import GoogLeNet, LastPooling, LocalResponseNormalization

MODULES = {
    "3a": (28, 256), "3b": (28, 480), "4a": (14, 512), "4b": (14, 512), "4c": (14, 512), "4d": (14, 528),
    "4e": (14, 832), "5a": (7, 832), "5b": (7, 1024),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> Any:
    return GoogLeNet(input_shape=(224, 224, 3))


def test_it_has_as_many_parameters_as_published(whole: Any) -> None:
    ours = {variable.path: variable for variable in whole.weights if not variable.trainable}
    assert list(ours) == [
        "pixels/kernel", "pixels/bias", "pool1_norm1/alpha", "conv2_norm2/alpha", "pool4_3x3_s2/third",
    ]  # fmt: skip
    # As netscope counts those of bvlc_googlenet's deploy.prototxt: 6,990,272 weights and 8,280 biases.
    assert sum(np.prod(variable.shape) for variable in whole.trainable_weights) == 6_998_552
    assert sum(np.prod(variable.shape) for variable in whole.trainable_weights if len(variable.shape) == 1) == 8280


def test_its_layers_have_the_published_names_and_shapes(whole: Any) -> None:
    names = {layer.name for layer in whole.layers}
    expected = {name.replace("/", "_") for name in published.TORCHVISION}
    assert expected | {"pool1_3x3_s2", "pool2_3x3_s2", "pool3_3x3_s2", "pool4_3x3_s2", "inception_3a_pool"} <= names
    for module, (side, channels) in MODULES.items():
        assert whole.get_layer(f"inception_{module}").output.shape == (None, side, side, channels)
    assert whole.output.shape == (None, 1000)
    assert GoogLeNet(include_top=False).compute_output_shape((2, 224, 160, 3)) == (2, 7, 5, 1024)


def test_it_sees_what_caffe_sees() -> None:
    pixels = GoogLeNet(include_top=False).get_layer("pixels")
    red, green, blue = 10, 20, 30
    seen = pixels(np.array([red, green, blue], np.float32).reshape(1, 1, 1, 3))
    np.testing.assert_array_equal(np.ravel(seen), [blue - 104, green - 117, red - 123])


@pytest.mark.parametrize("rows", [*range(2, 14), 28, 29])
def test_poolings_have_the_windows_of_caffe_at_every_size(rows: int, whole: Any) -> None:
    for columns in (2, 3, 4, 5, 17):
        responses = np.random.default_rng(rows).random((rows, columns, 2), np.float32)
        for number in (1, 4):
            padded = whole.get_layer(f"pool{number}_pad")(responses[None])
            ours = whole.get_layer(f"pool{number}_3x3_s2")(padded)
            np.testing.assert_array_equal(ours[0], published.pool(responses, 3, 2))


@pytest.mark.parametrize("rows", range(2, 14))
def test_the_last_pooling_can_have_the_windows_of_torchvision(rows: int) -> None:
    layer, pad = LastPooling(3, 2), keras.layers.ZeroPadding2D(((0, 1), (0, 1)))
    layer.build((None, None, None, 2))
    for columns in (2, 3, 6):
        responses = np.random.default_rng(rows).random((rows, columns, 2), np.float32)
        layer.set_weights([np.zeros(())])
        theirs = published.pool(responses, 2, 2)[: rows // 2, : columns // 2]  # without what is left of an odd number
        np.testing.assert_array_equal(layer(pad(responses[None]))[0], theirs)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 64])
def test_responses_are_normalised_across_channels(channels: int) -> None:
    responses = np.random.default_rng(0).normal(size=(3, 2, channels)).astype(np.float32) * 500
    layer = LocalResponseNormalization()
    np.testing.assert_allclose(layer(responses[None])[0], published.normalise(responses), rtol=1e-5)
    # By hand, for one channel: 300 / (1 + 0.0001 / 5 * 300²) ** 0.75 = 300 / 2.8 ** 0.75 = 138.6.
    np.testing.assert_allclose(layer(np.full((1, 1, 1, 1), 300, np.float32)), [[[[300 / 2.8**0.75]]]], rtol=1e-6)
    layer.set_weights([np.zeros(())])
    np.testing.assert_array_equal(layer(responses[None])[0], responses)


def test_responses_are_normalised_in_short_formats_too() -> None:
    responses = np.full((1, 1, 1, 8), 2000, np.float32)  # whose squares float16 does not have
    exact = LocalResponseNormalization()(responses)
    short = LocalResponseNormalization(dtype="mixed_float16")(responses)
    assert short.dtype == "float16"
    np.testing.assert_allclose(short, exact, rtol=1e-3)


def test_it_is_the_same_from_a_file(tmp_path: Path) -> None:
    network = GoogLeNet(include_top=False)
    network.get_layer("pool1_norm1").set_weights([np.array(0.5)])
    network.save(tmp_path / "googlenet.keras")
    again = keras.models.load_model(tmp_path / "googlenet.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 40, 65, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(image), network(image))


LOAD = """
import sys
from tfvlad.config import EncoderConfig
from tfvlad.networks.backbones import load_cut_backbone
print(load_cut_backbone(sys.argv[1], EncoderConfig("googlenet", "random:3", "inception_3a", "none")).digest)
"""


def test_a_cut_network_is_loaded_by_another_process(tmp_path: Path) -> None:
    backbone = load_backbone(EncoderConfig("googlenet", "random:3", "inception_3a"))
    backbone.model.save(tmp_path / "cut.keras")
    loading = [sys.executable, "-c", LOAD, str(tmp_path / "cut.keras")]
    assert subprocess.run(loading, capture_output=True, text=True, check=True).stdout.strip() == backbone.digest


def test_random_weights_leave_the_scaling_of_pixels_alone() -> None:
    drawn, ours = load_network("googlenet", "random:3"), GoogLeNet(include_top=False)
    for name in ("pixels", "pool1_norm1", "pool4_3x3_s2"):
        for theirs, own in zip(drawn.get_layer(name).get_weights(), ours.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(theirs, own)


def test_keras_has_no_weights_for_it() -> None:
    with pytest.raises(ValueError, match=r"no weights imagenet for GoogLeNet; tfvlad convert makes them of") as caught:
        GoogLeNet(weights="imagenet")
    assert "\n" not in str(caught.value)
