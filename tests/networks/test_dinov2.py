"""DINOv2 on images of any size, judged by KerasHub's own network at one size."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError, WeightsError
from tfvlad.named_networks import NAMED_NETWORKS
from tfvlad.networks import dinov2
from tfvlad.networks.backbones import load_backbone, load_cut_backbone, load_network
from tfvlad.networks.receptive_fields import layer_facts

keras_hub = pytest.importorskip("keras_hub")

TRAINED_AT = (518, 518)


def published(side: int, registers: int) -> Any:
    """A small DINOv2 of KerasHub's, for images of one size."""
    network = keras_hub.models.DINOV2Backbone(
        patch_size=14, num_layers=3, hidden_dim=32, num_heads=2, intermediate_dim=64, num_register_tokens=registers,
        image_shape=(side, side, 3), position_embedding_shape=TRAINED_AT,
    )  # fmt: skip
    generator = np.random.default_rng(0)
    of_size = network.embeddings.interpolated_position_embeddings
    for weight in network.weights:
        if weight is not of_size:
            weight.assign(generator.standard_normal(weight.shape) * 0.2)
    positions = network.embeddings.position_embeddings
    if side == TRAINED_AT[0]:
        of_size.assign(positions)
    else:
        interpolate = network.embeddings._interpolate_position_embeddings
        of_size.assign(interpolate(positions, 14, TRAINED_AT, (side, side)))
    return network


@pytest.mark.parametrize("registers", [0, 4])
def test_every_block_gives_what_it_gives_in_kerashub(registers: int) -> None:
    ours = dinov2._of_any_size(published(518, registers), (None, None, 3))
    for side in (518, 224):
        theirs = published(side, registers)
        images = np.random.default_rng(1).standard_normal((2, side, side, 3)).astype(np.float32)
        tokens = [theirs.pyramid_outputs[f"stage{block}"] for block in (1, 2, 3)]
        expected = keras.Model(theirs.inputs, [*tokens, theirs.outputs[0]])({"images": images})
        cells = side // 14
        for got, want in zip(ours(images), expected, strict=True):
            patches = np.asarray(want)[:, 1 + registers :].reshape(2, cells, cells, 32)
            np.testing.assert_allclose(got, patches, rtol=0, atol=1e-5)


def test_images_of_any_shape_have_a_cell_for_every_whole_patch() -> None:
    network = dinov2._of_any_size(published(224, 0), (None, None, 3))
    assert network(np.zeros((1, 100, 256, 3), np.float32))[-1].shape == (1, 7, 18, 32)


@pytest.mark.parametrize("preset", ["dinov2_small", "dinov2_with_registers_small"])
def test_it_has_as_many_parameters_as_published(preset: str) -> None:
    network = load_network(preset, "random:0")
    metadata = keras_hub.models.DINOV2Backbone.presets[preset]["metadata"]
    # KerasHub counts a mask token and a second set of position embeddings, which inference does not need.
    assert network.count_params() + 384 + (1 + 37 * 37) * 384 == metadata["params"]


def test_every_preset_of_kerashub_has_a_name() -> None:
    named = {name for name in NAMED_NETWORKS if name.startswith("dinov2")}
    assert named == {name for name in keras_hub.models.DINOV2Backbone.presets if name.startswith("dinov2")}


def test_a_patch_token_sees_the_whole_image() -> None:
    facts = {fact.layer: (fact.stride, fact.receptive_field, fact.channels) for fact in layer_facts("dinov2_small")}
    assert list(facts) == [*(f"block_{number}" for number in range(1, 13)), "last"]
    assert facts["block_9"] == (14, None, 384)


LOAD = """
import sys, numpy as np
from tfvlad.config import EncoderConfig
from tfvlad.networks.backbones import load_cut_backbone
config = EncoderConfig("dinov2_small", "random:3", "block_1", "torch")
print(load_cut_backbone(sys.argv[1], config).digest)
"""


def test_a_cut_network_is_loaded_by_another_process(tmp_path: Path) -> None:
    backbone = load_backbone(EncoderConfig("dinov2_small", "random:3", "block_1"))
    backbone.model.save(tmp_path / "cut.keras")
    loading = [sys.executable, "-c", LOAD, str(tmp_path / "cut.keras")]
    assert subprocess.run(loading, capture_output=True, text=True, check=True).stdout.strip() == backbone.digest
    again = load_cut_backbone(
        str(tmp_path / "cut.keras"), EncoderConfig("dinov2_small", "random:3", "block_1", "torch")
    )
    image = np.random.default_rng(0).standard_normal((1, 70, 56, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.model(image), backbone.model(image))


def test_weights_come_from_a_folder_that_holds_a_preset(tmp_path: Path) -> None:
    theirs = published(518, 4)
    theirs.save_to_preset(str(tmp_path / "preset"))
    ours = load_network("dinov2_with_registers_small", str(tmp_path / "preset"))
    images = np.random.default_rng(1).standard_normal((1, 518, 518, 3)).astype(np.float32)
    expected = np.asarray(theirs({"images": images}))[:, 5:].reshape(1, 37, 37, 32)
    np.testing.assert_allclose(ours(images)[-1], expected, rtol=0, atol=1e-5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"empty weights of dinov2_small cannot be had"):
        load_network("dinov2_small", str(tmp_path / "empty"))


def test_without_kerashub_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"dinov2_base comes through KerasHub: pip install 'tfvlad\[dinov2\]'"):
        load_network("dinov2_base", "random:0")
    with pytest.raises(ConfigError, match=r"backbone dinov2_mine\.keras: no such file"):
        load_network("dinov2_mine.keras", "random:0")


def test_the_shape_of_its_maps_is_told_without_running_it() -> None:
    network = dinov2._of_any_size(published(224, 4), (None, None, 3))
    assert network.compute_output_shape((2, 100, 256, 3)) == [(2, 7, 18, 32)] * 4
    assert min(network.compute_output_shape((1, 13, 256, 3))[0][1:]) == 0


@pytest.mark.parametrize("cells", [1, 16, 18, 37, 50])
def test_position_embeddings_are_interpolated_as_keras_resizes_images(cells: int) -> None:
    positions = np.random.default_rng(0).standard_normal((37, 37, 5)).astype(np.float32)
    expected = keras.ops.image.resize(positions, (cells, 23), interpolation="bicubic", antialias=False)
    down, across = (np.asarray(dinov2._interpolation(count)) for count in (cells, 23))
    # TensorFlow takes the weights from a table of 1,024 places.
    np.testing.assert_allclose(np.einsum("hi,wj,ijd->hwd", down, across, positions), expected, rtol=0, atol=5e-3)
