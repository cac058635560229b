"""Every aggregation behind an encoder: by hand, on every way through it, saved, loaded, exported, and in a sweep."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.config import Encoding
from tfvlad.encoding._engines import GraphEngine
from tfvlad.encoding.aggregation import aggregation_of
from tfvlad.encoding.keras_layers import LocalFeatures, Pooling
from tfvlad.encoding.throughput import measure
from tfvlad.errors import ArtifactError, ConfigError, ImageError, MismatchError
from tfvlad.networks.backbones import load_backbone
from tfvlad.serving.saved_model import saved_model

POOLINGS: tuple[Encoding, ...] = ("mean", "max", "gem")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    blots = (Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8)) for _ in range(12))
    return [np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC)) for picture in blots]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.EncoderConfig:
    network = save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras")
    return tfvlad.EncoderConfig(
        backbone=network, layer="second", preprocessing="tf", image_size=64, resize="stretch", power=1.0,
        clusters=4, dim=5, encoding="gem",
        shrinkage=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.EncoderConfig:
    """A network of images of 32 pixels that ends in 5 features and 3 classes."""
    path = tmp_path_factory.mktemp("classifier") / "classifier.keras"
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(6, 3, strides=4, name="maps")(inputs)
    flat = keras.layers.GlobalAveragePooling2D(name="pooled")(maps)
    hidden = keras.layers.Dense(5, name="hidden")(flat)
    model = keras.Model(inputs, keras.layers.Dense(3, name="classes")(hidden))
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    model.save(path)
    return tfvlad.EncoderConfig(
        backbone=str(path), preprocessing="tf", image_size=32, resize="stretch", power=1.0, encoding="fc", dim=None
    )


def test_poolings_by_hand() -> None:
    # One channel is 1, 2, 3, 6 in the four cells, the other 4 in all of them.
    maps = np.array([[[[1, 4], [2, 4]], [[3, 4], [6, 4]]]], np.float32)
    generalised = ((1 + 8 + 27 + 216) / 4) ** (1 / 3)
    for kind, expected in (("mean", [3, 4]), ("max", [6, 4]), ("gem", [generalised, 4])):
        np.testing.assert_allclose(Pooling(kind)(maps)[0], reference.unit(np.array(expected)), rtol=1e-6)  # type: ignore[arg-type]
    np.testing.assert_array_equal(Pooling("max")(np.zeros((1, 2, 2, 3), np.float32)), np.zeros((1, 3)))


def test_a_pooling_survives_saving(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, Pooling("gem")(inputs)).save(tmp_path / "pooling.keras")
    loaded = keras.models.load_model(tmp_path / "pooling.keras")
    maps = np.random.default_rng(0).normal(size=(2, 4, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(maps), Pooling("gem")(maps))
    assert loaded.output.shape == (None, 3)
    assert Pooling.from_config(Pooling("max").get_config()).kind == "max"


@pytest.mark.parametrize("encoding", ["vlad", *POOLINGS, "fc"])
def test_head_and_tail_are_what_the_cpu_computes(encoding: Encoding) -> None:
    generator = np.random.default_rng(0)
    codebook = generator.normal(size=(4, 6)).astype(np.float32)
    side = 1 if encoding == "fc" else 5
    maps = generator.normal(size=(3, side, side, 6)).astype(np.float32)
    way = aggregation_of(tfvlad.EncoderConfig(encoding=encoding, clusters=4, power=0.5), codebook)
    values = np.asarray(way.head()(maps))
    vectors, tail = way.vectors(values), way.tail()
    assert vectors.shape == (3, way.length(6))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors, values if tail is None else tail(values), atol=1e-5)
    np.testing.assert_allclose(way.vectors(list(values)), vectors, atol=1e-6)


def test_a_vlad_without_its_codebook_says_so() -> None:
    with pytest.raises(ValueError, match="the codebook must be fitted before"):
        aggregation_of(tfvlad.EncoderConfig()).vectors(np.zeros((1, 2, 3), np.float32))


@pytest.mark.parametrize("encoding", POOLINGS)
def test_an_encoder_that_pools(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray], encoding: Encoding, tmp_path: Path
) -> None:
    config = dataclasses.replace(config, encoding=encoding)
    encoder = tfvlad.Encoder.fit(pictures, config)
    assert (encoder.codebook, encoder.dim, encoder.config.encoding) == (None, 5, encoding)
    # Step by step: activations, pooling, whitening.
    image = np.asarray(encoder.extractor.loader.load(pictures[0]))[np.newaxis]
    cells = np.asarray(encoder.backbone.model(image), np.float64)[0].reshape(-1, 8)
    pooled = {
        "mean": cells.mean(axis=0),
        "max": cells.max(axis=0),
        "gem": np.mean(np.maximum(cells, 1e-6) ** 3, axis=0) ** (1 / 3),
    }[encoding]
    assert encoder.whitening is not None
    centred = reference.unit(pooled) - encoder.whitening.mean
    white = encoder.whitening.components @ centred / np.sqrt(encoder.whitening.variances)
    descriptors = encoder.encode(pictures)
    np.testing.assert_allclose(descriptors[0], reference.unit(white), atol=1e-4)
    # Local features are there as well, although no descriptor is made of them.
    features = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(encoder.local_features(pictures[0]), features.reshape(8, 8, 8), atol=1e-5)
    # Every other way gives the same.
    in_graph: dict[int, Any] = {}
    for rows in GraphEngine(encoder.extractor, encoder.model_with_activations()).stream(pictures):
        in_graph |= rows
    np.testing.assert_allclose(np.stack([in_graph[place] for place in range(12)]), descriptors, atol=1e-5)
    encoder.save(tmp_path / "e")
    loaded = tfvlad.Encoder.load(tmp_path / "e")
    assert (loaded.fingerprint, loaded.config) == (encoder.fingerprint, encoder.config)
    np.testing.assert_array_equal(loaded.encode(pictures), descriptors)
    stored = json.loads((tmp_path / "e" / "encoder.json").read_text())
    assert (stored["format"], stored["config"]["encoding"], sorted(stored["sha256"])) == (
        2,
        encoding,
        ["backbone.keras", "whitening.npz"],
    )


def test_each_encoding_has_its_own_fingerprint(config: tfvlad.EncoderConfig, pictures: list[np.ndarray]) -> None:
    settings = [dataclasses.replace(config, encoding=encoding, dim=None) for encoding in ("vlad", *POOLINGS)]
    settings.append(dataclasses.replace(settings[-1], power=0.5, intra_norm=False, clusters=9))  # mean nothing here
    encoders = [tfvlad.Encoder.fit(pictures, each) for each in settings]
    fingerprints = [encoder.fingerprint for encoder in encoders]
    assert len(set(fingerprints)) == 4
    assert fingerprints[-1] == fingerprints[-2]
    assert [encoder.dim for encoder in encoders] == [32, 8, 8, 8, 9 - 1]


def test_a_vlad_is_written_as_before(config: tfvlad.EncoderConfig, pictures: list[np.ndarray], tmp_path: Path) -> None:
    tfvlad.Encoder.fit(pictures, dataclasses.replace(config, encoding="vlad")).save(tmp_path / "e")
    stored = json.loads((tmp_path / "e" / "encoder.json").read_text())
    assert stored["format"] == 1
    assert "encoding" not in stored["config"]


def test_an_export_gives_what_the_encoder_gives(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    encoder = tfvlad.Encoder.fit(pictures, config)
    served = tf.saved_model.load(saved_model(encoder, tmp_path / "model"))
    (tmp_path / "0.png").write_bytes(tf.io.encode_png(pictures[0]).numpy())
    contents = tf.constant([(tmp_path / "0.png").read_bytes(), b"no picture"])
    answer = served.signatures["serving_default"](image_bytes=contents)
    assert answer["valid"].numpy().tolist() == [True, False]
    np.testing.assert_allclose(answer["descriptor"][0], encoder.encode(pictures[0])[0], atol=1e-5)
    features = served.signatures["local_features"](image_bytes=contents[:1])["features"][0]
    np.testing.assert_allclose(features, encoder.local_features(pictures[0]), atol=1e-5)
    label = served.signatures["info"](probe=tf.constant([""]))["label"].numpy()[0].decode()
    assert label.endswith("second_gem_64px_stretch_5d")


def test_the_network_and_the_pooling_are_measured_as_one(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray]
) -> None:
    measured = measure(tfvlad.Encoder.fit(pictures, config), pictures)
    assert [stage.name for stage in measured.stages] == ["decoding", "network and GeM pooling", "whitening"]


def test_images_that_cannot_be_used_are_left_out_of_a_whitening(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray]
) -> None:
    errors: list[ImageError] = []
    fitted = tfvlad.Encoder.fit([*pictures, b"broken"], config, on_error=errors.append)
    assert [error.reason for error in errors] == ["not an image in a known format"]
    assert fitted.dim == 5
    with pytest.raises(ConfigError, match="none of the 9 images can be used; the first is <bytes>: not an image"):
        tfvlad.Encoder.fit([b"broken"] * 9, config, on_error=errors.append)
    with pytest.raises(ConfigError, match="dim=9 is too large: 12 images and vectors of 8 dimensions give 8 at most"):
        tfvlad.Encoder.fit(pictures, dataclasses.replace(config, dim=9))


def test_fully_connected_features(classifier: tfvlad.EncoderConfig, pictures: list[np.ndarray], tmp_path: Path) -> None:
    encoder = tfvlad.Encoder.fit(pictures, classifier)
    assert (encoder.config.layer, encoder.dim) == ("hidden", 5)
    network = keras.models.load_model(classifier.backbone)
    hidden = keras.Model(network.inputs[0], network.get_layer("hidden").output)
    image = np.asarray(encoder.extractor.loader.load(pictures[0]))[np.newaxis]
    expected = reference.unit(np.asarray(hidden(image), np.float64)[0])
    np.testing.assert_allclose(encoder.encode(pictures[0])[0], expected, atol=1e-5)
    np.testing.assert_allclose(encoder.local_features(pictures[0]), expected.reshape(1, 1, 5), atol=1e-5)
    encoder.save(tmp_path / "e")
    loaded = tfvlad.Encoder.load(tmp_path / "e")
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(loaded.encode(pictures[0]), encoder.encode(pictures[0]))
    served = tf.saved_model.load(saved_model(encoder, tmp_path / "model"))
    answer = served.signatures["images"](images=tf.constant(pictures[0][np.newaxis]))
    np.testing.assert_allclose(answer["descriptor"], encoder.encode(pictures[0]), atol=1e-5)
    again = tfvlad.Encoder.fit(pictures, encoder.config)  # the layer's name is in there now
    assert again.fingerprint == encoder.fingerprint


def test_fully_connected_features_of_the_named_networks() -> None:
    inception = tfvlad.EncoderConfig(
        backbone="inceptionv3", weights="random:0", image_size=75, resize="stretch", power=1.0, encoding="fc"
    )
    backbone = load_backbone(inception)
    assert (backbone.layer, backbone.channels) == ("avg_pool", 2048)
    vgg16 = tfvlad.EncoderConfig(weights="random:0", encoding="fc")
    with pytest.raises(
        ConfigError, match=r"encoding fc of vgg16 takes images of 224x224 pixels only: .* got 256 and fit"
    ):
        load_backbone(vgg16)
    with pytest.raises(ConfigError, match=r"encoding fc needs weights imagenet or random:SEED, got 'some\.h5'"):
        load_backbone(dataclasses.replace(vgg16, image_size=224, resize="stretch", weights="some.h5"))


def test_fully_connected_features_that_are_not_there(
    classifier: tfvlad.EncoderConfig, config: tfvlad.EncoderConfig, pictures: list[np.ndarray]
) -> None:
    with pytest.raises(ConfigError, match="layer must be 'hidden' or left out for encoding fc, got 'maps'"):
        tfvlad.Encoder.fit(pictures, dataclasses.replace(classifier, layer="maps"))
    with pytest.raises(ConfigError, match="so no fc; vlad, mean, max and gem are possible"):
        tfvlad.Encoder.fit(pictures, dataclasses.replace(config, encoding="fc", layer=None))


@pytest.fixture
def saved(config: tfvlad.EncoderConfig, pictures: list[np.ndarray], tmp_path: Path) -> Path:
    tfvlad.Encoder.fit(pictures, config).save(tmp_path / "e")
    return tmp_path / "e"


def rewrite(saved: Path, **changes: object) -> None:
    description = json.loads((saved / "encoder.json").read_text())
    config = {**description["config"], **changes.pop("config", {})}  # type: ignore[dict-item]
    (saved / "encoder.json").write_text(json.dumps({**description, **changes, "config": config}))


def test_unknown_encodings_are_refused_by_name(saved: Path) -> None:
    with pytest.raises(ConfigError, match="encoding must be one of vlad, mean, max, gem, fc, got 'fisher'"):
        tfvlad.EncoderConfig(encoding="fisher")  # type: ignore[arg-type]
    rewrite(saved, config={"encoding": "fisher"})
    with pytest.raises(ArtifactError, match=r"encoder\.json: damaged: config: encoding must be one of .* got 'fisher'"):
        tfvlad.Encoder.load(saved)
    rewrite(saved, config={"encoding": ["gem"]})
    with pytest.raises(ArtifactError, match="damaged: config: encoding must be one of"):
        tfvlad.Encoder.load(saved)


def test_crafted_folders_of_a_pooling_are_refused(saved: Path, config: tfvlad.EncoderConfig) -> None:
    rewrite(saved, format=1)
    with pytest.raises(ArtifactError, match="damaged: config: format 1 has no encoding 'gem'"):
        tfvlad.Encoder.load(saved)
    rewrite(saved, format=2, config={"encoding": "vlad"})
    with pytest.raises(ArtifactError, match=r"codebook\.npz: damaged: .*No such file"):
        tfvlad.Encoder.load(saved)


@pytest.mark.parametrize(("components", "reason"), [((5, 7), "mean has 8 numbers, components 7"), ((5, 8), "")])
def test_a_whitening_of_other_vectors_is_refused(saved: Path, components: tuple[int, int], reason: str) -> None:
    import hashlib

    size = 8 if reason else 9
    shape = components if reason else (5, 9)
    arrays = {"mean": np.ones(size), "components": np.ones(shape), "variances": np.ones(5)}
    np.savez(saved / "whitening.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})
    description = json.loads((saved / "encoder.json").read_text())
    digest = hashlib.sha256((saved / "whitening.npz").read_bytes()).hexdigest()
    rewrite(saved, sha256={**description["sha256"], "whitening.npz": digest})
    expected = ArtifactError if reason else MismatchError
    with pytest.raises(expected, match=reason or "gives vectors of 8 numbers, the whitening takes 9"):
        tfvlad.Encoder.load(saved)


def test_local_features_and_pooled_vectors_come_of_one_pass(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray]
) -> None:
    from tfvlad.encoding.features import FeatureBatch, FeatureExtractor, Head

    encoder = tfvlad.Encoder.fit(pictures, dataclasses.replace(config, dim=None))
    heads = {"vector": Head(0, encoder.aggregation.head()), "local": Head(0, LocalFeatures())}
    extractor = FeatureExtractor(encoder.backbone.model, encoder.extractor.loader, 64, heads)
    ((batch,),) = extractor.stream(pictures[:3])
    assert isinstance(batch, FeatureBatch)
    np.testing.assert_allclose(batch.values["vector"], encoder.encode(pictures[:3]), atol=1e-5)
    assert batch.values["local"].shape == (3, 64, 8)
    assert batch.grids == {"vector": (8, 8), "local": (8, 8)}
