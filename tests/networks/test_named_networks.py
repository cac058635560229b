"""The networks that go by a name, judged by Keras itself: which there are, how they take pixels, and their layers.

`benchmarks/networks.py` builds, cuts, times and exports every one; here are the smallest of every family.
"""

from __future__ import annotations

import importlib
import sys

import keras
import numpy as np
import pytest

import tfvlad
from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError
from tfvlad.images.loading import preprocess
from tfvlad.named_networks import NAMED_NETWORKS
from tfvlad.networks.backbones import load_backbone
from tfvlad.networks.receptive_fields import layer_facts

APPLICATIONS = {
    network.builder.removeprefix("keras.applications:"): network
    for network in NAMED_NETWORKS.values()
    if network.builder.startswith("keras.applications:")
}


def test_every_network_of_keras_has_a_name() -> None:
    there_are = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(APPLICATIONS) == there_are
    assert there_are <= {name for name in there_are if name.lower() in NAMED_NETWORKS}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_pixels_are_scaled_as_keras_scales_them(name: str) -> None:
    of_keras = sys.modules[getattr(keras.applications, name).__module__].preprocess_input
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(
        preprocess(pixels, APPLICATIONS[name].preprocessing), of_keras(pixels.copy()), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    "name",
    [
        "vgg19", "googlenet", "xception", "resnet50", "resnet50v2", "densenet121", "mobilenet", "mobilenetv2",
        "mobilenetv3small", "efficientnetb0", "efficientnetv2b0", "convnexttiny", "inceptionv3",
    ],
)  # fmt: skip
def test_the_default_layer_is_a_map_of_local_features_of_images_of_any_size(name: str) -> None:
    backbone = load_backbone(EncoderConfig(backbone=name, weights="random:0"))
    (facts,) = (facts for facts in layer_facts(name) if facts.layer == backbone.layer)
    assert facts.channels == backbone.channels
    assert facts.stride == 8
    for height, width in ((128, 96), (101, 131)):
        pixels = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype(np.float32)
        features = np.asarray(backbone.model(preprocess(pixels, backbone.preprocessing)))
        # Networks differ in how they treat the border, by less than four cells.
        assert abs(features.shape[1] - height / facts.stride) < 4
        assert abs(features.shape[2] - width / facts.stride) < 4
        assert np.isfinite(features).all()
        assert np.std(features) > 1e-3


def test_nasnet_takes_its_own_size_only() -> None:
    with pytest.raises(ConfigError, match=r"takes images of 224x224 pixels only: .* resize stretch, got 224 and fit"):
        load_backbone(EncoderConfig(backbone="nasnetmobile", weights="random:0"))
    backbone = load_backbone(EncoderConfig(backbone="nasnetmobile", weights="random:0", resize="stretch"))
    assert backbone.model(np.zeros((1, 224, 224, 3), np.float32)).shape == (1, 28, 28, 264)


def test_a_sum_between_layers_is_a_module_of_a_network() -> None:
    facts = {fact.layer: fact for fact in layer_facts("convnexttiny")}
    # The stem: 4x4 at stride 4. A block: 7x7 on cells 4 pixels apart. 4 + 6 * 4 = 28.
    assert (facts["add"].stride, facts["add"].receptive_field, facts["add"].channels) == (4, 28, 96)
    assert (facts["add_5"].stride, facts["add_5"].channels) == (8, 192)


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(ConfigError, match=r"got 'ResNet-50'; did you mean resnet50"):
        EncoderConfig(backbone="ResNet-50")


def test_a_network_has_its_own_image_size() -> None:
    assert EncoderConfig().image_size == EncoderConfig(backbone="some.keras").image_size == 256
    assert EncoderConfig(backbone="dinov2_base").image_size == 448
    assert EncoderConfig(backbone="dinov2_base", image_size=224).image_size == 224
    assert tfvlad.EncoderConfig(backbone="nasnetlarge").image_size == 331


def test_every_network_has_a_builder() -> None:
    for network in NAMED_NETWORKS.values():
        module, function = network.builder.split(":")
        assert callable(getattr(importlib.import_module(module), function))
