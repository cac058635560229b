"""Layers by name, pattern or all of them; fully connected features; the named networks, with random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfvlad
from tfvlad.evaluation.datasets import Dataset
from tfvlad.sweep import Grid, sweep
from tfvlad.sweep._keys import architecture, digest, network_digest
from tfvlad.sweep._multi_layer_network import FC, WholeNetwork, load_networks, select_layers


@pytest.fixture(scope="module")
def inception() -> WholeNetwork:
    return load_networks(
        tfvlad.EncoderConfig(resize="stretch", backbone="inceptionv3", weights="random:0"), [75], with_fc=True
    )[75]


@pytest.fixture(scope="module")
def vgg16() -> WholeNetwork:
    return load_networks(tfvlad.EncoderConfig(resize="stretch", weights="random:0"), [64], with_fc=False)[64]


def test_all_is_every_module_or_every_convolution(inception: WholeNetwork, vgg16: WholeNetwork) -> None:
    assert select_layers(inception, "inceptionv3", ["all"]) == [f"mixed{number}" for number in range(11)]
    every = select_layers(vgg16, "vgg16", ["all"])
    assert (len(every), every[0], every[-1]) == (13, "block1_conv1", "block5_conv3")


def test_names_and_patterns_are_the_networks_and_the_papers(inception: WholeNetwork, vgg16: WholeNetwork) -> None:
    expected = ["block4_conv1", "block4_conv2", "block4_conv3", "block5_pool"]
    assert select_layers(vgg16, "vgg16", ["block5_pool", "conv4_*", "block4_conv3"]) == expected
    assert select_layers(inception, "inceptionv3", ["inception_3?"]) == ["mixed0", "mixed1"]
    with pytest.raises(tfvlad.ConfigError, match=r"layers: nothing in vgg16 matches 'fire\*'; see `tfvlad layers`"):
        select_layers(vgg16, "vgg16", ["conv4_*", "fire*"])
    with pytest.raises(tfvlad.ConfigError, match="layer 'block4_conv9' is not there, did you mean 'block4_conv3'"):
        select_layers(vgg16, "vgg16", ["block4_conv9"])


def test_the_features_before_the_classifier(inception: WholeNetwork) -> None:
    assert inception.outputs[FC].shape == (None, 1, 1, 2048)
    small = tfvlad.EncoderConfig(resize="stretch", weights="random:0")
    with pytest.raises(tfvlad.ConfigError, match="fc of vgg16 takes images of 224x224 pixels only: add 224"):
        load_networks(small, [64, 448], with_fc=True)
    with pytest.raises(tfvlad.ConfigError, match=r"fc needs weights imagenet or random:SEED, got 'some\.h5'"):
        load_networks(tfvlad.EncoderConfig(resize="stretch", weights="some.h5"), [224], with_fc=True)


def test_the_features_before_the_classifier_of_a_file(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    with pytest.raises(tfvlad.ConfigError, match="so no fc; vlad, mean, max and gem are possible"):
        load_networks(config, [64], with_fc=True)
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(6, 3, strides=4, name="maps")(inputs)
    flat = keras.layers.GlobalAveragePooling2D(name="pooled")(maps)
    hidden = keras.layers.Dense(5, name="hidden")(flat)
    keras.Model(inputs, keras.layers.Dense(3, name="classes")(hidden)).save(tmp_path / "classifier.keras")
    own = tfvlad.EncoderConfig(resize="stretch", backbone=str(tmp_path / "classifier.keras"), preprocessing="tf")
    study, _ = sweep(dataset, tmp_path / "out", Grid(("maps",), (32,), (4,), (0, 3), ("mean", "fc")), own)
    shown = [(cell.setting.layer, cell.setting.encoding, cell.size) for cell in study.cells]
    assert shown == [("", "fc", 5), ("", "fc", 3), ("maps", "mean", 6), ("maps", "mean", 3)]
    assert study.layers == ["maps"]
    with pytest.raises(tfvlad.ConfigError, match="takes images of 32x32 pixels only: image_size must be 32"):
        sweep(dataset, tmp_path / "out", Grid(("maps",), (32, 64)), own)


def small_network(names: tuple[str, str], again: int = 0, **changed: Any) -> WholeNetwork:
    """Two convolutions of one input, side by side, and one of them `again`; the same weights each time."""
    settings = {"strides": 1, "padding": "same", "dilation_rate": 1, "activation": "relu"} | changed
    first, second = (keras.layers.Conv2D(3, 3, name=name, **settings) for name in names)
    inputs = keras.Input((None, None, 3))
    beside = [first(inputs), second(inputs)]
    joined = keras.layers.Concatenate()([*beside, beside[again]])
    pooled = keras.layers.MaxPooling2D(2)(keras.layers.Dropout(0.1)(joined))
    model = keras.Model(inputs, pooled)
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
    return WholeNetwork(model, {"pooled": pooled}, "tf", "float32")


def test_a_digest_holds_all_that_a_network_computes_and_no_names() -> None:
    digests = {network_digest(small_network(names), ["pooled"]) for names in (("a", "b"), ("a", "b"), ("c", "relu"))}
    assert len(digests) == 1
    others: list[dict[str, Any]] = [
        {"strides": 2},
        {"padding": "valid"},
        {"dilation_rate": 2},
        {"activation": "tanh"},
        {"again": 1},
    ]
    digests |= {network_digest(small_network(("a", "b"), **other), ["pooled"]) for other in others}
    assert len(digests) == 1 + len(others)


def test_a_network_within_a_network_is_part_of_its_digest() -> None:
    def nested(stride: int, name: str) -> str:
        inner = keras.Sequential([keras.Input((None, None, 3)), keras.layers.MaxPooling2D(2, stride, name=name)])
        inputs = keras.Input((None, None, 3))
        output = inner(inputs)
        network = WholeNetwork(keras.Model(inputs, output), {"out": output}, "tf", "float32")
        return network_digest(network, ["out"])

    assert nested(1, "a") == nested(1, "b") != nested(2, "a")


def test_another_network_with_the_same_weights_has_other_cells(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    grid = Grid(("first",), (48,), (4,), (0,), ("max",))
    before, _ = sweep(dataset, tmp_path / "out", grid, config)
    described = keras.models.load_model(config.backbone)
    other = keras.models.clone_model(
        described,
        clone_function=lambda layer: type(layer).from_config(
            layer.get_config() | ({"strides": (8, 8)} if layer.name == "first" else {})
        ),
    )
    other.set_weights(described.get_weights())
    other.save(tmp_path / "other.keras")
    own = dataclasses.replace(config, backbone=str(tmp_path / "other.keras"))
    after, _ = sweep(dataset, tmp_path / "out", grid, own)
    undisturbed, _ = sweep(dataset, tmp_path / "new", grid, own)
    assert after.cells[0].top.tolist() == undisturbed.cells[0].top.tolist() != before.cells[0].top.tolist()


@pytest.mark.parametrize(
    ("backbone", "layers", "sizes", "encodings"),
    [
        ("vgg16", ("conv2_2", "pool3"), (64,), ("vlad", "gem")),
        ("inceptionv3", ("mixed0", "mixed10"), (75,), ("vlad", "mean", "fc")),
    ],
)
def test_the_named_networks_are_swept(
    backbone: str, layers: tuple[str, ...], sizes: tuple[int, ...], encodings: tuple[str, ...], dataset: Dataset,
    tmp_path: Path,
) -> None:  # fmt: skip
    own = tfvlad.EncoderConfig(resize="stretch", backbone=backbone, weights="random:0")
    study, failures = sweep(dataset, tmp_path, Grid(layers, sizes, (4,), (3, 0), encodings), own)  # type: ignore[arg-type]
    assert failures == []
    kinds = [(layer, encoding) for layer in study.layers for encoding in encodings if encoding != "fc"]
    kinds += [("", "fc")] * ("fc" in encodings)
    assert {(cell.setting.layer, cell.setting.encoding) for cell in study.cells} == set(kinds)
    assert len(study.cells) == 2 * len(kinds)
    assert all(cell.qualities["all"].score > 0 and not cell.impossible for cell in study.cells)


def test_custom_layers_have_digests_too() -> None:
    @keras.saving.register_keras_serializable("tests")
    class Block(keras.Model):
        def __init__(self, layers: int = 1, **options: object) -> None:
            super().__init__(**options)
            self.layers_asked, self.convolution = layers, keras.layers.Conv2D(3, 1)

        def call(self, inputs: Any) -> Any:
            return self.convolution(inputs)

        def get_config(self) -> dict[str, object]:
            return {"layers": self.layers_asked}

    def with_block(layers: int) -> str:
        inputs = keras.Input((None, None, 3))
        output = keras.layers.Conv2D(4, 1, activation=keras.layers.LeakyReLU(0.1))(Block(layers)(inputs))
        return digest(architecture(keras.Model(inputs, output)))

    assert with_block(1) == with_block(1) != with_block(2)
