from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from helpers import published_googlenet as published
from helpers.command_results import Command, document, done, refusal

from tfvlad.networks.backbones import load_network
from tfvlad.networks.weights import weights_digest


@pytest.fixture(scope="module")
def caffemodel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "bvlc_googlenet.caffemodel"
    path.write_bytes(published.caffemodel(published.draw_caffe(), old=True))
    return path


def test_published_weights_become_a_file_for_fit(
    command: Command, caffemodel: Path, photos: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "new" / "googlenet.weights.h5"
    first, second, last = done(command("convert", "--weights", caffemodel, "--output", weights)).splitlines()
    digest = weights_digest(load_network("googlenet", str(weights)))
    assert first == f"{weights}: GoogLeNet trained with Caffe, digest {digest[:12]}"
    assert second == f"SHA-256 of {caffemodel}: {hashlib.sha256(caffemodel.read_bytes()).hexdigest()}"
    assert last == f"Next: tfvlad fit --backbone googlenet --weights {weights} --images FOLDER --encoder FOLDER"
    quick = ["--layer=inception_3a", "--image_size=48", "--clusters=4", "--dim=4"]
    line = last.removeprefix("Next: tfvlad ").replace("--images FOLDER", f"--images {photos}")
    line = line.replace("--encoder FOLDER", f"--encoder {tmp_path / 'encoder'}")
    assert "googlenet inception_3a, 48 px" in done(command(*line.split(), *quick))


def test_its_json(command: Command, tmp_path: Path) -> None:
    source, output = tmp_path / "googlenet.pth", tmp_path / "googlenet.weights.h5"
    source.write_bytes(published.torch_old(published.draw_torchvision()))
    told = document(command("convert", "--weights", source, "--output", output, "--format=json"))
    assert told == {
        "output": str(output),
        "trained_with": "torchvision",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "digest": weights_digest(load_network("googlenet", str(output))),
    }


def test_mistakes_are_one_line(command: Command, caffemodel: Path, encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "googlenet.weights.h5"
    assert "--weights is needed" in refusal(command("convert", "--output", output))
    assert "--output is needed" in refusal(command("convert", "--weights", caffemodel))
    told = refusal(command("convert", "--weights", caffemodel, "--output", tmp_path / "googlenet.h5"))
    assert told == f"tfvlad convert: --output must end in .weights.h5, got {tmp_path / 'googlenet.h5'}"
    told = refusal(command("convert", "--weights", tmp_path / "none", "--output", output))
    assert told == f"tfvlad convert: weights {tmp_path / 'none'}: No such file or directory"
    inside = refusal(command("convert", "--weights", caffemodel, "--output", encoder / "x.weights.h5"))
    assert "lies inside the index or encoder" in inside
    (tmp_path / "torn.pth").write_bytes(published.torch_old({})[:50])
    assert "no PyTorch state dict" in refusal(
        command("convert", "--weights", tmp_path / "torn.pth", "--output", output)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["torn.pth"]


def test_a_file_that_is_there_is_kept(command: Command, caffemodel: Path, tmp_path: Path) -> None:
    output = tmp_path / "googlenet.weights.h5"
    output.write_text("trained for a week")
    told = refusal(command("convert", "--weights", caffemodel, "--output", output))
    assert told == f"tfvlad convert: {output} is there already; give another name, or delete it"
    assert output.read_text() == "trained for a week"
