"""Descriptors of views: a part of the picture is a part of the map, and a turned picture has a pass of its own."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import reference
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.encoding.views import ViewsDescription, cell_centres, cells_of_view
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.loading import image_loader
from tfvlad.images.views import GREY, WHOLE, View, parse_views

MIDDLE = View(box=(0.25, 0.25, 0.75, 0.75))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Smooth coloured pictures of 96 x 64 pixels."""
    random = np.random.default_rng(0)
    return [
        np.asarray(Image.fromarray(random.integers(0, 255, (8, 12, 3), np.uint8)).resize((96, 64), Image.BICUBIC))
        for _ in range(12)
    ]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.EncoderConfig:
    network = save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras")
    return tfvlad.EncoderConfig(
        backbone=network,
        layer="second",
        preprocessing="tf",
        image_size=96,
        resize="fit",
        clusters=4,
        dim=6,
        power=0.5,
        codebook_samples=500,
    )


@pytest.fixture(scope="module")
def encoder(pictures: list[np.ndarray], config: tfvlad.EncoderConfig) -> tfvlad.Encoder:
    return tfvlad.Encoder.fit(pictures, config)


def describe(encoder: tfvlad.Encoder, source: object, views: list[View], scale: float = 1.0) -> ViewsDescription:
    (found,) = encoder.describe_views([source], views, scale)
    assert isinstance(found, ViewsDescription)
    return found


def test_cells_lie_in_the_box_and_in_the_picture() -> None:
    # 4 x 2 cells of a picture of twice the width: their centres are at 1/8, 3/8, 5/8, 7/8 and 1/4, 3/4.
    centres = cell_centres(2, 4, WHOLE.to_picture((4, 2)))
    assert centres[[0, 7]].tolist() == [[0.125, 0.25], [0.875, 0.75]]
    assert cells_of_view(WHOLE, centres).tolist() == list(range(8))
    assert cells_of_view(View(box=(0.375, 0, 1, 0.5)), centres).tolist() == [1, 2, 3]  # an edge belongs to the box
    assert cells_of_view(View(box=(0.45, 0.6, 0.54, 0.7)), centres).tolist() == [5]  # none is in it: the nearest
    turned = View(45)
    corners = cell_centres(11, 11, turned.to_picture((100, 100)))
    inside = set(cells_of_view(turned, corners).tolist())
    assert 60 in inside
    assert not inside & {0, 10, 110, 120}


def test_the_whole_picture_has_the_descriptor_that_encode_gives(
    encoder: tfvlad.Encoder, pictures: list[np.ndarray]
) -> None:
    found = describe(encoder, pictures[0], [WHOLE])
    np.testing.assert_allclose(found.descriptors, encoder.encode(pictures[0]), atol=1e-6)
    np.testing.assert_array_equal(found.passes[0].features, encoder.local_features(pictures[0]))
    assert (found.size, found.pass_of, found.passes[0].view) == ((96, 64), (0,), WHOLE)


def test_a_part_is_described_by_its_cells(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    found = describe(encoder, pictures[0], [MIDDLE, WHOLE])
    assert found.pass_of == (0, 0)
    features = found.passes[0].features
    height, width, channels = features.shape
    assert (height, width) == (8, 12)
    part = features[2:6, 3:9].reshape(-1, channels)
    vlad = reference.vlad(part, encoder.codebook, True, 0.5)
    assert encoder.whitening is not None
    projection, offset = encoder.whitening.folded()
    white = vlad @ projection - offset
    np.testing.assert_allclose(found.descriptors[0], white / np.linalg.norm(white), atol=1e-4)


def test_a_quarter_turn_is_the_turned_picture(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    found = describe(encoder, pictures[1], [WHOLE, View(90), View(180)])
    for number, quarters in enumerate((0, 1, 2)):
        np.testing.assert_allclose(
            found.descriptors[number], encoder.encode(np.rot90(pictures[1], quarters).copy())[0], atol=1e-4
        )
    assert [its.view.turn for its in found.passes] == [0, 90, 180]
    assert found.passes[1].features.shape[:2] == (12, 8)


def test_turned_corners_give_no_cells(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    found = describe(encoder, pictures[2], [View(45)])
    (turned,) = found.passes
    assert turned.features.shape[:2] == (11, 11)  # a square of 7/8 of 96 pixels: 84 of them
    cells = cells_of_view(WHOLE, cell_centres(11, 11, turned.to_picture))
    assert 0.4 < len(cells) / 121 < 0.95
    vlad = reference.vlad(turned.features.reshape(121, -1)[cells], encoder.codebook, True, 0.5)
    assert encoder.whitening is not None
    projection, offset = encoder.whitening.folded()
    white = vlad @ projection - offset
    np.testing.assert_allclose(found.descriptors[0], white / np.linalg.norm(white), atol=1e-4)
    # The cells show what the picture shows there: a picture of one half red, one half grey, has its red cells there.
    halves = np.full((64, 96, 3), GREY, np.uint8)
    halves[:, :48] = (255, 0, 0)
    its = describe(encoder, halves, [View(45)]).passes[0]
    centres = cell_centres(11, 11, its.to_picture)
    red, grey = (its.features.reshape(121, -1)[cells_of_view(View(box=box), centres)] for box in
                 ((0.1, 0.2, 0.35, 0.8), (0.65, 0.2, 0.9, 0.8)))  # fmt: skip
    assert (red @ red.mean(axis=0)).min() > (grey @ red.mean(axis=0)).max()


def test_scale_makes_the_map_larger(encoder: tfvlad.Encoder, pictures: list[np.ndarray]) -> None:
    views = list(parse_views("rotations:8,scales:2"))
    found = describe(encoder, pictures[3], views, scale=1.5)
    assert found.descriptors.shape == (16, 6)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert len(found.passes) == 8
    assert found.passes[0].features.shape[:2] == (12, 18)
    assert found.passes[1].features.shape[:2] == (16, 16)  # 126 pixels
    larger = np.asarray(encoder.backbone.model(image_loader(144, "fit", "tf").load(pictures[3])[None]))[0]
    larger = larger / np.maximum(np.linalg.norm(larger, axis=2, keepdims=True), 1e-12)
    np.testing.assert_allclose(found.passes[0].features, larger, atol=1e-4)


def test_many_pictures_of_all_kinds_and_bad_ones(
    encoder: tfvlad.Encoder, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    file = io.BytesIO()
    Image.fromarray(pictures[0]).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    sources = [pictures[0], b"no picture", file.getvalue(), tmp_path / "a.png", str(tmp_path / "a.png"),
               tmp_path / "missing.png", *pictures[4:], pictures[0][..., 0]]  # fmt: skip
    views = [View(45), MIDDLE, WHOLE]
    found = list(encoder.describe_views(iter(sources), views))
    assert [isinstance(its, ImageError) for its in found] == [i in (1, 5) for i in range(len(sources))]
    assert str(found[5]).endswith("missing.png: No such file or directory")
    for its, source in zip(found, sources, strict=True):
        if isinstance(its, ViewsDescription):
            assert (its.views, its.size) == (tuple(views), (96, 64))
            np.testing.assert_allclose(its.descriptors, describe(encoder, source, views).descriptors, atol=1e-4)
            np.testing.assert_allclose(its.descriptors[2], encoder.encode(source)[0], atol=1e-4)
    for same in found[2:5]:
        assert isinstance(same, ViewsDescription)
        np.testing.assert_allclose(same.descriptors, found[0].descriptors, atol=1e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize("encoding", ["mean", "max", "gem"])
def test_poolings_take_the_activations_of_a_part(
    encoding: str, pictures: list[np.ndarray], config: tfvlad.EncoderConfig
) -> None:
    pooled = tfvlad.Encoder.fit(pictures, dataclasses.replace(config, encoding=encoding, dim=None))
    found = describe(pooled, pictures[0], [WHOLE, MIDDLE])
    np.testing.assert_allclose(found.descriptors[0], pooled.encode(pictures[0])[0], atol=1e-5)
    np.testing.assert_allclose(found.passes[0].features, pooled.local_features(pictures[0]), atol=1e-5)
    loaded = pooled.extractor.loader.load(pictures[0])
    cells = np.asarray(pooled.backbone.model(loaded[None]))[0, 2:6, 3:9].reshape(-1, 8)
    if encoding == "gem":
        expected = np.mean(np.maximum(cells, 1e-6) ** 3.0, axis=0) ** (1 / 3)
    else:
        expected = getattr(np, encoding)(cells, axis=0)
    np.testing.assert_allclose(found.descriptors[1], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_map_of_one_cell_has_no_parts(pictures: list[np.ndarray], tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=4, name="conv", activation="relu")(inputs))
    x = keras.layers.Dense(6, name="features", activation="relu")(x)
    keras.Model(inputs, keras.layers.Dense(3, name="classes")(x)).save(tmp_path / "classifier.keras")
    config = tfvlad.EncoderConfig(
        backbone=str(tmp_path / "classifier.keras"), preprocessing="tf", image_size=32, encoding="fc", dim=None,
        resize="stretch", power=1.0,
    )  # fmt: skip
    fitted = tfvlad.Encoder.fit(pictures, config)
    found = describe(fitted, pictures[0], [WHOLE, MIDDLE, View(45)], scale=2.0)
    assert len(found.passes) == 3
    np.testing.assert_allclose(found.descriptors[0], fitted.encode(pictures[0])[0], atol=1e-4)
    np.testing.assert_allclose(found.descriptors[1], fitted.encode(MIDDLE.render(pictures[0]))[0], atol=1e-4)
    np.testing.assert_allclose(found.descriptors[2], fitted.encode(View(45).render(pictures[0]))[0], atol=1e-4)


@pytest.mark.parametrize(("views", "scale"), [([], 1.0), ([WHOLE], 0.0), ([WHOLE], float("nan")), ([WHOLE], -1.0)])
def test_what_cannot_be_described(encoder: tfvlad.Encoder, views: list[View], scale: float) -> None:
    with pytest.raises(ConfigError, match="views must be at least one and scale above 0"):
        encoder.describe_views([b""], views, scale)
