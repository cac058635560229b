"""Named and loaded networks: cutting, weights, names, and what a cell sees."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError, WeightsError
from tfvlad.networks.backbones import load_backbone, load_network
from tfvlad.networks.receptive_fields import layer_facts


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """conv 3x3 stride 2 -> conv 3x3 dilated by 2 -> max-pool 2x2 -> a classifier."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="first")(inputs)
    x = keras.layers.Conv2D(5, 3, dilation_rate=2, padding="same", name="second")(x)
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    outputs = keras.layers.Dense(2, name="classes")(keras.layers.GlobalAveragePooling2D(name="mean")(x))
    path = tmp_path_factory.mktemp("networks") / "tiny.keras"
    keras.Model(inputs, outputs).save(path)
    return str(path)


def test_a_sub_model_computes_its_layer_and_nothing_beyond(tiny: str) -> None:
    backbone = load_backbone(EncoderConfig(backbone=tiny, layer="second", preprocessing="none"))
    assert [layer.name for layer in backbone.model.layers][1:] == ["first", "second"]
    assert (backbone.channels, backbone.layer, backbone.preprocessing) == (5, "second", "none")
    images = np.random.default_rng(0).normal(size=(2, 20, 12, 3)).astype(np.float32)
    whole = load_network(tiny, "imagenet")
    expected = whole.get_layer("second")(whole.get_layer("first")(images))
    np.testing.assert_allclose(backbone.model(images), expected, atol=1e-6)


def test_strides_and_receptive_fields_by_hand(tiny: str) -> None:
    # first: 1 + (3 - 1) * 1 = 3; second: 3 + 4 * 2 = 11, its window dilated to 5; pool: 11 + 1 * 2 = 13, stride 4.
    facts = [(f.layer, f.stride, f.receptive_field, f.channels) for f in layer_facts(tiny)]
    assert facts == [("first", 2, 3, 4), ("second", 2, 11, 5), ("pool", 4, 13, 5)]


def test_vgg16_as_published() -> None:
    # Receptive fields of VGG16 are well known: conv4_3 sees 92 pixels, conv5_3 196, pool5 212.
    facts = {f.alias: (f.layer, f.stride, f.receptive_field, f.channels) for f in layer_facts("vgg16")}
    assert facts["conv4_3"] == ("block4_conv3", 8, 92, 512)
    assert facts["conv5_3"] == ("block5_conv3", 16, 196, 512)
    assert facts["pool5"] == ("block5_pool", 32, 212, 512)


def test_inception_modules_keep_their_names_however_often_it_is_built() -> None:
    once, twice = layer_facts("inceptionv3"), layer_facts("inceptionv3")
    assert once == twice
    by_alias = {f.alias: f for f in once}
    assert (by_alias["inception_4a"].layer, by_alias["inception_4a"].stride) == ("mixed3", 16)
    assert [f.layer for f in once][:4] == ["conv2d", "batch_normalization", "activation", "conv2d_1"]


@pytest.mark.parametrize(("name", "layer"), [("vgg16", "conv2_2"), ("inceptionv3", "inception_3a")])
def test_random_weights_are_the_same_for_a_seed_and_keep_the_signal_alive(name: str, layer: str) -> None:
    image = np.random.default_rng(0).normal(size=(1, 96, 80, 3)).astype(np.float32)
    one, same, other = (
        load_backbone(EncoderConfig(backbone=name, layer=layer, weights=f"random:{seed}")) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.model(image), same.model(image))
    assert one.digest == same.digest != other.digest
    assert 0.01 < float(np.std(one.model(image))) < 100


def test_weights_from_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "seven.weights.h5")
    load_network("vgg16", "random:7").save_weights(path)
    settings = {"backbone": "vgg16", "layer": "block1_conv2"}
    from_file = load_backbone(EncoderConfig(weights=path, **settings))  # type: ignore[arg-type]
    assert from_file.digest == load_backbone(EncoderConfig(weights="random:7", **settings)).digest  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"not the weights of inception_v3 without its top"):
        load_network("inceptionv3", path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"backbone": "vgg17"},
            "a network that `tfvlad layers` lists or the path of a .keras file, got 'vgg17'; did you mean vgg19",
        ),
        ({"backbone": "nowhere.keras"}, "backbone nowhere.keras: no such file"),
        ({"layer": "conv4_4", "weights": "random:0"}, "layer 'conv4_4' is not there.* block4_conv3, "),
        ({"backbone": "inceptionv3", "layer": "mixd5", "weights": "random:0"}, "did you mean 'mixed5'.* and 282 more"),
        ({"weights": "random:x"}, "needs a whole number as SEED, got 'x'"),
        ({"weights": "nowhere.h5"}, "weights nowhere.h5: no such file"),
        ({"weights": "imagnet"}, "weights must be imagenet, random:SEED, or a .h5 or .weights.h5 file, got 'imagnet'"),
    ],
)
def test_mistakes_get_one_line(settings: dict[str, str], message: str) -> None:
    with pytest.raises((ConfigError, WeightsError), match=message) as caught:
        load_backbone(EncoderConfig(**settings))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_keras_file_needs_a_layer_and_a_preprocessing(tiny: str) -> None:
    with pytest.raises(ConfigError, match=r"needs preprocessing \(caffe, tf"):
        load_backbone(EncoderConfig(backbone=tiny, layer="pool"))
    with pytest.raises(ConfigError, match=r"layer must be given for .*: first, second, pool$"):
        load_backbone(EncoderConfig(backbone=tiny, preprocessing="tf"))
    with pytest.raises(ConfigError, match="layer 'classes' is not there"):
        load_backbone(EncoderConfig(backbone=tiny, preprocessing="tf", layer="classes"))


def test_a_layer_used_twice_stands_for_its_first_use(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    outputs = keras.layers.Conv2D(2, 3, name="last")(shared(shared(inputs)))
    path = str(tmp_path / "shared.keras")
    keras.Model(inputs, outputs).save(path)
    backbone = load_backbone(EncoderConfig(backbone=path, layer="shared", preprocessing="tf"))
    assert len(backbone.model.layers) == 2  # the input, and one use
    assert [fact.layer for fact in layer_facts(path)] == ["shared"]  # what `last` sees is not known


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "text.keras"
    path.write_text("hello")
    with pytest.raises(ConfigError, match="not a model that Keras can load"):
        load_network(str(path), "imagenet")


def test_a_network_of_one_input_size_says_so(tmp_path: Path) -> None:
    inputs = keras.Input((32, 32, 3))
    path = str(tmp_path / "fixed.keras")
    keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inputs)).save(path)
    with pytest.raises(ConfigError, match="takes images of 32x32 pixels only: image_size must be 32"):
        load_backbone(EncoderConfig(backbone=path, layer="conv", preprocessing="tf", image_size=64))


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(**_: object) -> None:
        print("Downloading data from ...")
        raise Exception("URL fetch failure on https://example.org: None -- no route to host")

    monkeypatch.setattr(keras.applications, "VGG16", refuse)
    with pytest.raises(WeightsError, match=r"no route to host\).*--weights=random:0.*--backbone=FILE\.keras"):
        load_network("vgg16", "imagenet")
    assert capsys.readouterr().out == ""


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inputs))
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "nan.keras")
    with pytest.raises(WeightsError, match="the weights of layer conv hold NaN"):
        load_backbone(EncoderConfig(backbone=str(tmp_path / "nan.keras"), layer="conv", preprocessing="tf"))
