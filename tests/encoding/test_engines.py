"""The stages at work together: the same descriptors by every way, nothing traced twice, nothing that is not finite."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.encoding._engines import GraphEngine
from tfvlad.encoding.throughput import measure
from tfvlad.errors import ConfigError, ImageError


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.EncoderConfig:
    network = save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras")
    return tfvlad.EncoderConfig(
        backbone=network, layer="second", preprocessing="tf", image_size=64, clusters=4, dim=6, resize="fit"
    )


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Of ten sizes, five of each."""
    generator = np.random.default_rng(0)
    return [
        np.asarray(
            Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8)).resize((40 + 4 * (number % 10), 48), 3)
        )
        for number in range(50)
    ]


@pytest.fixture(scope="module")
def encoder(config: tfvlad.EncoderConfig, pictures: list[np.ndarray]) -> tfvlad.Encoder:
    return tfvlad.Encoder.fit(pictures, config, seed=0)


def graph_engine(encoder: tfvlad.Encoder) -> GraphEngine:
    return GraphEngine(encoder.extractor, encoder.model_with_activations())


def test_the_graph_gives_what_the_kernels_give(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    sources = [*pictures[:30], b"no picture", *pictures[30:]]
    in_graph = {}
    for rows in graph_engine(encoder).stream(sources):
        assert not set(rows) & set(in_graph)
        in_graph |= rows
    assert sorted(in_graph) == list(range(51))
    assert isinstance(in_graph.pop(30), ImageError)
    descriptors = np.stack([in_graph[position] for position in sorted(in_graph)])
    assert np.sum(descriptors * encoder.encode(pictures), axis=1).min() > 0.99999


@pytest.mark.parametrize("encoding", ["vlad", "gem"])
def test_local_features_come_with_the_descriptors(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray], encoding: Any
) -> None:
    """By the kernels and in the graph, of encodings that start with local features and of those that do not."""
    encoder = tfvlad.Encoder.fit(pictures, dataclasses.replace(config, encoding=encoding), seed=0)
    sources = [*pictures[:12], b"no picture", *pictures[12:]]
    described = list(encoder.describe_stream(iter(sources)))
    assert isinstance(described.pop(12), ImageError)
    in_graph = [row for rows in graph_engine(encoder).describe(sources) for _, row in sorted(rows.items())]
    assert isinstance(in_graph.pop(12), ImageError)
    for picture, one, (descriptor, features), alone in zip(
        pictures, described, in_graph, encoder.encode(pictures), strict=True
    ):
        assert not isinstance(one, ImageError)
        assert one.size == (picture.shape[1], picture.shape[0])
        assert float(one.descriptor @ alone) > 0.99999
        assert float(one.descriptor @ descriptor) > 0.99999
        expected = encoder.local_features(picture)
        assert one.features.shape == features.shape == expected.shape
        np.testing.assert_allclose(one.features, expected, atol=1e-5)
        np.testing.assert_allclose(features, expected, atol=1e-5)


def test_sizes_and_batches_of_every_kind_are_traced_once(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    encoder.encode(pictures)
    encoder.encode(pictures[:1])
    for traced in (encoder.extractor.extract, encoder.extractor.loader.from_pixels):
        assert traced.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


def test_activations_that_are_not_finite_are_told_of_their_image_alone(
    config: tfvlad.EncoderConfig, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(4, 3, strides=8, kernel_initializer="ones", name="second")(inputs)
    keras.Model(inputs, keras.layers.Activation("exponential", name="steep")(outputs)).save(tmp_path / "steep.keras")
    steep = dataclasses.replace(config, backbone=str(tmp_path / "steep.keras"), layer="steep", dim=None, clusters=1)
    black, white = (np.full((64, 64, 3), value, np.uint8) for value in (0, 255))
    fitted = tfvlad.Encoder.fit([black], dataclasses.replace(steep, preprocessing="none"), seed=0)
    for engine in (fitted.engine, graph_engine(fitted)):
        (rows,) = engine.stream([black, white])  # exp(27 * 255) is infinite
        assert np.isfinite(rows[0]).all()
        assert str(rows[1]) == "<array>: the network's activations are not finite"
    measured = measure(fitted, [black, white])
    assert (measured.images, [failure.reason for failure in measured.failed]) == (
        1,
        ["the network's activations are not finite"],
    )


def test_a_short_precision_is_another_encoder_with_similar_descriptors(
    encoder: tfvlad.Encoder, config: tfvlad.EncoderConfig, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    exact = encoder.local_features(pictures[0])
    for precision, least in (("bfloat16", 0.999), ("float16", 0.99999)):
        short = tfvlad.Encoder.fit(pictures, dataclasses.replace(config, precision=precision), seed=0)
        features = short.local_features(pictures[0])
        assert features.dtype == np.float32
        cosines = np.sum(features * exact, axis=2)
        assert cosines.min() > least
        assert cosines.min() < 1 - 1e-7  # it did compute in less
        assert short.fingerprint != encoder.fingerprint
        short.save(tmp_path / precision)
        loaded = tfvlad.Encoder.load(tmp_path / precision)
        assert loaded.fingerprint == short.fingerprint
        np.testing.assert_array_equal(loaded.local_features(pictures[0]), features)
    with pytest.raises(ConfigError, match="precision must be one of float32, bfloat16, float16, got 'int8'"):
        dataclasses.replace(config, precision="int8")


def test_each_stage_is_measured_and_failures_are_listed(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    measured = measure(encoder, [*pictures, b"no picture"])
    assert (measured.images, [str(failure) for failure in measured.failed]) == (
        50,
        ["<bytes>: not an image in a known format"],
    )
    assert [stage.name for stage in measured.stages] == ["decoding", "network", "VLAD", "whitening"]
    assert all(stage.seconds > 0 for stage in measured.stages)
    stages = sum(stage.cpu_seconds for stage in measured.stages)
    assert measured.efficiency == pytest.approx(stages / measured.cores / measured.seconds)
    with pytest.raises(ConfigError, match="none of the 1 images can be encoded; the first is <bytes>: not an image"):
        measure(encoder, [b"no picture"])


def test_a_large_jpeg_decoded_small_gives_the_descriptor_of_the_whole(data_dir: Path, tmp_path: Path) -> None:
    covers = sorted((data_dir / "smvs_dvd" / "Reference").glob("*.jpg"))[:40]
    network = str(data_dir / "squeezenet_imagenet_notop.keras")
    settings = tfvlad.EncoderConfig(
        backbone=network,
        layer="fire8_concat",
        preprocessing="caffe",
        image_size=224,
        resize="stretch",
        power=1.0,
        clusters=32,
        dim=32,
    )
    encoder = tfvlad.Encoder.fit(covers, settings, seed=0)
    for path in covers[:4]:
        file = io.BytesIO()
        Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        whole = np.asarray(Image.open(io.BytesIO(file.getvalue())))  # decoded at full size, resized from there
        reduced, full = encoder.encode([file.getvalue(), whole])
        assert reduced @ full > 0.995
