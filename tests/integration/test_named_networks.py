"""VGG16 and InceptionV3, with seeded random weights, through the same commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfvlad.commands._main import run
from tfvlad.demo.drawn_dataset import draw_dataset


@pytest.mark.parametrize(("backbone", "layer"), [("vgg16", "conv2_2"), ("inceptionv3", "inception_3a")])
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
