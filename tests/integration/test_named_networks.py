"""Networks that go by a name: the commands with seeded random weights, and parity with trained ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfvlad
from tfvlad.commands._main import run
from tfvlad.demo.drawn_dataset import draw_dataset
from tfvlad.images.listing import image_paths
from tfvlad.serving.saved_model import saved_model


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [
        ("vgg16", "conv2_2"),
        ("inceptionv3", "inception_3a"),
        ("googlenet", "inception_3a"),
        ("dinov2_small", "block_2"),
    ],
)
def test_the_commands_run_on_a_named_network(
    backbone: str, layer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = draw_dataset(tmp_path / "drawn", covers=12)
    encoder, index = f"--encoder={tmp_path / 'encoder'}", f"--index={tmp_path / 'index'}"
    settings = ["--weights=random:0", "--image_size=128", "--clusters=16", "--dim=10"]
    fit = ["fit", f"--backbone={backbone}", f"--layer={layer}", *settings]
    assert run([*fit, f"--images={drawn.covers}", f"--images={drawn.fitting}", encoder]) == 0
    assert run(["index", f"--images={drawn.covers}", encoder, index]) == 0
    capsys.readouterr()
    assert run(["evaluate", index, f"--queries={drawn.photographs}", "--format=json"]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["queries"] == 12
    assert metrics["mrr"] > 0.45  # by chance: (1 + 1/2 + ... + 1/12) / 12 = 0.26
    assert run(["search", index, str(drawn.covers / "003.jpg"), "--k=1", "--format=json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)[0]["hits"]
    assert hit["path"].endswith("003.jpg")
    assert hit["score"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("backbone", ["vgg16", "inceptionv3"])
def test_kernels_layers_and_export_agree_on_a_trained_network(backbone: str, data_dir: Path, tmp_path: Path) -> None:
    config = tfvlad.EncoderConfig(
        backbone, weights=str(data_dir / f"{backbone}_imagenet_notop.weights.h5"), image_size=224, clusters=32, dim=16
    )
    encoder = tfvlad.Encoder.fit(image_paths(data_dir / "smvs_dvd" / "Reference")[:24], config)
    photographs = image_paths(data_dir / "smvs_dvd" / "E63")[:3]
    expected = encoder.encode(photographs)  # by the kernels
    described = encoder.model()
    for photograph, descriptor in zip(photographs, expected, strict=True):
        by_layers = np.asarray(described(encoder.extractor.loader.load(photograph)[None]))[0]
        assert by_layers @ descriptor > 0.9999
    served = tf.saved_model.load(saved_model(encoder, tmp_path / "trained")).signatures["serving_default"]
    told = served(image_bytes=tf.constant([Path(path).read_bytes() for path in photographs]))
    assert (told["descriptor"].numpy() * expected).sum(axis=1).min() > 0.9999
