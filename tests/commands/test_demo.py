from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import keras
import pytest
from helpers.command_results import Command, done, refusal

import tfvlad
from tfvlad.commands import demo
from tfvlad.networks.backbones import load_network
from tfvlad.networks.layers import find_layer

WEIGHTS = {
    "online": "The weights of inceptionv3 are ImageNet's\n",
    "offline": "ImageNet weights of inceptionv3 cannot be had here: going on with seeded random ones",
}
NETWORK = {
    "online": "inceptionv3 with imagenet weights, mixed0",
    "offline": "inceptionv3 with random:0 weights, activation_4",
}


@pytest.fixture(params=["online", "offline"])
def connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Few covers, little pictures, and a stand-in for the network, whose ImageNet weights can be had or not."""
    monkeypatch.setattr(demo, "_COVERS", 3)
    for name in ("_TRAINED", "_UNTRAINED"):
        small = dataclasses.replace(getattr(demo, name), image_size=96, clusters=8, dim=4)
        monkeypatch.setattr(demo, name, small)

    def build(weights: str | None, **settings: Any) -> keras.Model:
        if weights is not None and request.param == "offline":
            raise OSError("URL fetch failure on https://example.org: None -- Name or service not known")
        initial = keras.initializers.RandomNormal(seed=0)
        inputs = keras.Input((None, None, 3))
        early = keras.layers.Conv2D(8, 5, strides=4, kernel_initializer=initial, name="activation_4")(inputs)
        return keras.Model(inputs, keras.layers.Conv2D(8, 3, kernel_initializer=initial, name="mixed0")(early))

    monkeypatch.setattr(keras.applications, "InceptionV3", build)
    return str(request.param)


def test_the_whole_way(command: Command, connection: str, tmp_path: Path) -> None:
    folder = tmp_path / "my demo"
    out = done(command("demo", "--output", folder))
    assert f"Drawing covers, and photographs of them, in {folder}\n" in out
    assert WEIGHTS[connection] in out
    metrics = dict(re.findall(r"^(queries|mAP|MRR|recall@\d+|mP@\d+) +([\d.]+)(?: +[\d.]+)?$", out, re.MULTILINE))
    assert metrics.pop("queries") == "3"
    assert set(metrics) == {"mAP", "MRR", *(f"{name}@{k}" for name in ("recall", "mP") for k in (1, 5, 10))}
    assert all(0 <= float(value) <= 1 for value in metrics.values())
    assert metrics["recall@5"] == "1.0000"  # one of the three covers is the right one
    page = re.search(r"^Results page: (.+)$", out, re.MULTILINE)
    assert page
    html = Path(page[1]).read_text(encoding="utf-8")
    assert NETWORK[connection] + ", 96 px, 4-D" in html
    assert html.count("data:image/jpeg;base64,") == 3 + 3 * 3
    assert re.search(r"^metric +exact +verified$", out, re.MULTILINE)
    on_its_side, stranger = out.split("Searching for a photograph of another cover\n")
    for block in (on_its_side.split("lies on its side\n")[1], stranger):
        assert re.search(r"^rank +score +inliers +verdict +path$", block, re.MULTILINE)
    assert f"{folder}/turned.jpg\n" in on_its_side
    assert f"{folder}/stranger.jpg\nprobably not in the index: " in stranger
    why = re.search(r"^Why the first was found: (.+)$", on_its_side, re.MULTILINE)
    assert why
    assert Path(why[1]).read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 2
    follow_up = re.search(r"^Next: tfvlad (.+)$", out, re.MULTILINE)
    assert follow_up
    assert f"{folder}/covers/" in done(command(*shlex.split(follow_up[1])))


@pytest.mark.parametrize("connection", ["online"], indirect=True)
def test_the_same_folder_again(command: Command, connection: str, tmp_path: Path) -> None:
    line = ["demo", "--output", tmp_path]
    out = done(command(*line))
    assert done(command(*line)) == out
    done(command(*line, "--seed=1"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "covers", "encoder", "fitting", "index", "photographs", "results.html", "stranger.jpg",
        "turned.jpg", "why.html",
    ]  # fmt: skip
    with tfvlad.Index.open(tmp_path / "index") as index:
        assert len(index) == 3


def test_the_network_has_the_layers() -> None:
    network = load_network("inceptionv3", "random:0")
    for config in (demo._TRAINED, demo._UNTRAINED):
        assert find_layer(network, config.backbone, config.layer)[0] == config.layer


def test_a_folder_of_other_things_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "catalog.sqlite").write_text("precious")
    said = refusal(command("demo", "--output", tmp_path))
    assert said == (f"tfvlad demo: {tmp_path} is not of an earlier demo; give a folder that is empty or not there yet")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert (tmp_path / "index" / "catalog.sqlite").read_text() == "precious"


def test_no_output_is_the_folder_where_one_is(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert ". is not of an earlier demo" in refusal(command("demo", "--output="))
