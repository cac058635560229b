"""The command on drawn photographs and copies that the tests make of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command_results import Command, document, done, refusal
from PIL import Image

import tfvlad

NOTE = "Copies turned by 90 or 180 degrees are sure to be found in an index with --views rotations:4.\n"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs of blots, and of the first four one copy each: equal bytes, JPEG, smaller, turned."""
    folder = tmp_path_factory.mktemp("duplicates") / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(7)
    for number in range(6):
        blots = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8)).resize(
            (192, 144), Image.Resampling.BICUBIC
        )
        blots.save(folder / f"{number}.png")
    shutil.copy(folder / "0.png", folder / "0-bytes.png")
    for number, alter in enumerate(
        (lambda one: one, lambda one: one.resize((96, 72)), lambda one: one.transpose(Image.Transpose.ROTATE_180)),
        start=1,
    ):
        with Image.open(folder / f"{number}.png") as picture:
            alter(picture).save(folder / f"{number}-copy.jpg", quality=60)
    return folder


@pytest.fixture(scope="module")
def made(pictures: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "duplicates"
    with tfvlad.Index.create(path, tfvlad.Encoder.load(encoder), views="rotations:4") as index:
        index.sync(pictures)
    return path


def names(document: dict) -> list[list[str]]:
    return [sorted(os.path.basename(one["path"]) for one in group) for group in document["groups"]]


def test_groups_as_json(command: Command, made: Path, pictures: Path) -> None:
    before = sorted(path.name for path in pictures.iterdir())
    found = document(command("duplicates", "--index", made, "--format=json"))
    assert sorted(names(found)) == [
        ["0-bytes.png", "0.png"], ["1-copy.jpg", "1.png"], ["2-copy.jpg", "2.png"], ["3-copy.jpg", "3.png"],
    ]  # fmt: skip
    by_name = {os.path.basename(one["path"]): one for group in found["groups"] for one in group}
    assert {by_name[name]["kind"] for name in ("0.png", "0-bytes.png")} == {"reference", "same bytes"}
    smaller, turned = by_name["2-copy.jpg"], by_name["3-copy.jpg"]
    assert (smaller["kind"], smaller["size"], by_name["2.png"]["kind"]) == ("same picture", [96, 72], "reference")
    assert smaller["scale"] == pytest.approx(0.5, abs=0.02)
    assert smaller["box"] == pytest.approx([0, 0, 192, 144], abs=3)
    copy = turned if turned["kind"] == "same picture" else by_name["3.png"]
    assert abs(copy["turn"]) == pytest.approx(180, abs=1)
    assert found["failed"] == []
    assert sorted(path.name for path in pictures.iterdir()) == before


def test_it_is_the_same_every_time(command: Command, made: Path) -> None:
    line = ["duplicates", "--index", made, "--format=json"]
    assert done(command(*line)) == done(command(*line))


def test_a_table_and_a_page(command: Command, made: Path, tmp_path: Path) -> None:
    page = tmp_path / "not" / "there" / "duplicates.html"
    out = done(command("duplicates", "--index", made, "--html", page))
    assert out.splitlines()[0] == "group 1"
    assert "scaled by 0.50" in out
    assert out.splitlines()[-1] == "4 groups of the same picture, 8 files; 4 of them beside the first ones"
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 8
    assert html.count("<section") == 4
    assert "<b>same bytes</b>" in html
    assert "<b>same picture</b>: scaled by 0.50" in html


def test_files_that_are_gone_or_have_changed_are_named(
    command: Command, pictures: Path, encoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder)) as index:
        index.sync(folder)
    (folder / "0-bytes.png").unlink()
    (folder / "1-copy.jpg").write_text("no picture any more")
    result = command("duplicates", "--index", tmp_path / "index", "--format=json")
    assert names(document(result, status=1)) == [["2-copy.jpg", "2.png"]]
    assert f"  {folder}/0-bytes.png: No such file or directory\n" in result.err
    assert f"  {folder}/1-copy.jpg: has changed since it was indexed; run tfvlad index\n" in result.err
    shutil.rmtree(folder)
    result = command("duplicates", "--index", tmp_path / "index")
    assert (result.status, result.out) == (1, "No two files show the same picture.\n")


def test_an_index_without_local_features(command: Command, pictures: Path, encoder: Path, tmp_path: Path) -> None:
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder), local_features=0) as index:
        index.sync(pictures)
    result = command("duplicates", "--index", tmp_path / "index", "--format=json")
    assert names(document(result))[:3] == [["0-bytes.png", "0.png"], ["1-copy.jpg", "1.png"], ["2-copy.jpg", "2.png"]]
    assert result.err.startswith("The index keeps no local features")


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(command: Command, photos: Path, encoder: Path, tmp_path: Path, count: int) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(count):
        shutil.copy(photos / f"{number:03}.jpg", folder)
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder)) as index:
        index.sync(folder, allow_empty=True)
    result = command("duplicates", "--index", tmp_path / "index")
    assert (result.status, result.out) == (0, "No two files show the same picture.\n")
    assert document(command("duplicates", "--index", tmp_path / "index", "--format=json")) == {
        "groups": [],
        "failed": [],
    }


def test_mistakes(command: Command, made: Path, tmp_path: Path) -> None:
    for line, said in [
        (["--index", tmp_path / "none"], f"{tmp_path}/none: is not an index: there is no file catalog.sqlite in it"),
        (["--index", made, "--html", tmp_path], f"{tmp_path} is a folder; give the path of a file"),
        (["--index", made, "photo.jpg"], "'photo.jpg' was not expected; a flag is --name=value"),
        ([], "--index is needed (see tfvlad duplicates --help)"),
    ]:
        assert refusal(command("duplicates", *line)) == f"tfvlad duplicates: {said}"


def test_tensorflow_is_not_imported(made: Path) -> None:
    program = (
        "import sys; from tfvlad.commands._main import run;"
        f"status = run(['duplicates', '--index', {str(made)!r}, '--format=json']);"
        "sys.exit(status or any(name.split('.')[0] in ('tensorflow', 'keras') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
