"""`tfvlad sweep --dataset` on tiny copies of public benchmarks: boxes, several protocols, another measure."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_results import Command, document, done
from PIL import Image

import tfvlad

CELLS = np.random.default_rng(0).integers(0, 256, (8, 6, 8, 3), np.uint8)  # of eight pictures, coarse ones


@pytest.fixture
def tried(network: str) -> list[str]:
    return [
        "sweep", f"--backbone={network}", "--preprocessing=tf", "--layers=first", "--image_sizes=64", "--clusters=4",
        "--dims=full", "--encodings=vlad",
    ]  # fmt: skip


def draw(path: Path, picture: int, brightness: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray((CELLS[picture] * brightness).astype(np.uint8)).resize((96, 72), Image.Resampling.BICUBIC)
    image.save(path, quality=95)


def beside(path: Path, left: int, right: int) -> None:
    """Two pictures side by side, 192 x 72 pixels; the left one is a little darker than `draw` makes it."""
    draw(path, left, 0.95)
    with Image.open(path) as one:
        both = Image.new("RGB", (192, 72))
        both.paste(one, (0, 0))
    draw(path, right)
    with Image.open(path) as other:
        both.paste(other, (96, 0))
    both.save(path, quality=95)


def encoder(study: Any, network: str) -> tfvlad.Encoder:
    """The encoder of the study's only setting, fitted on the database."""
    (setting,) = study["settings"]
    config = tfvlad.EncoderConfig(
        backbone=network,
        preprocessing="tf",
        layer=setting["layer"],
        image_size=64,
        resize="stretch",
        power=1.0,
        clusters=4,
        dim=None,
    )
    return tfvlad.Encoder.fit(study["images"], config)


@pytest.fixture
def oxford(tmp_path: Path) -> Path:
    """Five images. The first query is the left half of an image whose right half shows another picture."""
    folder = tmp_path / "oxford"
    images = folder / "oxbuild_images-v1"
    for stem, picture in [("all_souls_000026", 0), ("all_souls_000091", 1), ("oxford_000317", 2)]:
        draw(images / f"{stem}.jpg", picture)
    beside(images / "all_souls_000013.jpg", 0, 3)
    beside(images / "hertford_000015.jpg", 4, 5)
    truth = folder / "gt_files_170407"
    truth.mkdir()
    for name, text in {
        "all_souls_1_query": "oxc1_all_souls_000013 0 0 96 72\n",
        "all_souls_1_good": "all_souls_000026\n",
        "all_souls_1_ok": "",
        "all_souls_1_junk": "all_souls_000013\n",
        "hertford_1_query": "oxc1_hertford_000015 0 0 192 72\n",
        "hertford_1_good": "hertford_000015\n",
        "hertford_1_ok": "",
        "hertford_1_junk": "",
    }.items():
        (truth / f"{name}.txt").write_text(text)
    return folder


def test_boxes_are_searched_for_unless_told_otherwise(
    command: Command, tried: list[str], network: str, oxford: Path, tmp_path: Path
) -> None:
    line = [*tried, "--dataset", f"oxford5k:{oxford}", "--format=json"]
    study = document(command(*line, "--output", tmp_path / "boxes"))
    assert (study["queries"], study["database"], study["measure"]) == (2, 5, "mAP")
    # The box shows picture 0 alone, and finds it; the other query is its own only right answer.
    assert study["settings"][0]["protocols"]["all"]["score"] == 1.0
    whole = document(command(*line, "--output", tmp_path / "whole", "--noquery_boxes"))
    paths = sorted(str(path) for path in (oxford / "oxbuild_images-v1").iterdir())
    fitted = encoder(study | {"images": paths}, network)
    by_name = dict(zip((Path(path).stem for path in paths), fitted.encode(paths), strict=True))
    query = by_name["all_souls_000013"]
    others = ["all_souls_000026", "all_souls_000091", "hertford_000015", "oxford_000317"]
    ranked = sorted(others, key=lambda name: -float(by_name[name] @ query))
    rank = 1 + ranked.index("all_souls_000026")
    # One right answer at rank r: (1/r + (1 if r is 1, else 0)) / 2 by the official trapezium; the other query has 1.
    expected = (1.0 if rank == 1 else 1 / rank / 2, 1.0)
    assert whole["settings"][0]["protocols"]["all"]["score"] == pytest.approx(sum(expected) / 2)


def test_every_protocol_is_a_column(command: Command, tried: list[str], tmp_path: Path) -> None:
    folder, out = tmp_path / "roxford5k", tmp_path / "out"
    names = ["all_souls_000001", "all_souls_000002", "all_souls_000003"]
    for number, name in enumerate(names):
        draw(folder / "jpg" / f"{name}.jpg", number)
    draw(folder / "jpg" / "all_souls_000013.jpg", 0, 0.95)
    draw(folder / "jpg" / "hertford_000015.jpg", 1, 0.95)
    truth = [
        {"bbx": [0, 0, 96, 72], "easy": [0], "hard": [2], "junk": [1]},
        {"bbx": [0, 0, 96, 72], "easy": [], "hard": [1], "junk": []},
    ]
    content = {"imlist": names, "qimlist": ["all_souls_000013", "hertford_000015"], "gnd": truth}
    (folder / "gnd_roxford5k.json").write_text(json.dumps(content))
    line = [*tried, "--dataset", f"roxford5k:{folder}", "--output", out]
    head = done(command(*line)).splitlines()[0]
    assert [f"mAP ({name})" in head for name in ("medium", "hard", "easy")] == [True] * 3
    study = json.loads((out / "results.json").read_text())
    assert study["protocols"] == ["medium", "hard", "easy"]
    # Query 0 finds picture 0 first, then 2, its junk taken out; query 1 finds picture 1. No easy answer: no figure.
    protocols = study["settings"][0]["protocols"]
    assert {name: protocols[name]["score"] for name in protocols} == {"medium": 1.0, "hard": 1.0, "easy": 1.0}
    assert protocols["easy"]["interval"] == [None, None]  # one query says nothing about others
    with open(out / "results.csv", encoding="utf-8", newline="") as file:
        assert [row["protocol"] for row in csv.DictReader(file)] == ["medium", "hard", "easy"]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "Settings are chosen by the protocol “medium”" in report
    assert "mAP, hard" in report


def test_ukbench_has_its_own_measure(command: Command, tried: list[str], tmp_path: Path) -> None:
    folder, out = tmp_path / "ukbench", tmp_path / "out"
    for number in range(8):  # two objects, four photographs of each
        draw(folder / "full" / f"ukbench{number:05}.jpg", number // 4, 1.0 - 0.02 * (number % 4))
    line = [*tried, "--dataset", f"ukbench:{folder}", "--output", out]
    head, row = done(command(*line)).splitlines()[:2]
    assert "N-S score" in head
    study = json.loads((out / "results.json").read_text())
    assert (study["queries"], study["measure"]) == (8, "N-S score")
    assert study["settings"][0]["protocols"]["all"]["score"] == 4.0  # all four of each are among the first four
    assert " 4.0000 " in row
    assert "N-S score" in (out / "report.html").read_text(encoding="utf-8")


def given_images(out: Path) -> list[str]:
    """What the flagfile of the best encoder says of the images to fit on."""
    lines = (out / "best.flags").read_text().splitlines()
    assert ("--images=IMAGES" in lines[0]) == (not any(line.startswith("--images=") for line in lines))
    return [line.removeprefix("--images=") for line in lines if line.startswith("--images=")]


@pytest.mark.parametrize("device", ["", "/E63"])
def test_the_best_encoder_is_fitted_on_the_database_alone(
    command: Command, tried: list[str], tmp_path: Path, device: str
) -> None:
    """Not on the photographs, which the data set's folder holds as well."""
    covers, out = tmp_path / "covers", tmp_path / "out"
    for number in range(4):
        draw(covers / "Reference" / f"{number:03}.jpg", number)
        draw(covers / "E63" / f"{number:03}.jpg", number, 0.5)
    best = document(command(*tried, "--dataset", f"smvs:{covers}{device}", "--output", out, "--format=json"))
    assert given_images(out) == [str(covers / "Reference")]
    found, index = tmp_path / "encoder", tmp_path / "index"
    done(command("fit", f"--flagfile={out}/best.flags", "--encoder", found))
    done(command("index", "--images", covers / "Reference", "--encoder", found, "--index", index))
    measured = document(
        command("evaluate", "--index", index, "--dataset", f"smvs:{covers}{device}", "--exact", "--format=json")
    )
    assert measured["map"] == pytest.approx(best["settings"][0]["protocols"]["all"]["score"])


def test_the_best_encoder_says_where_no_folder_holds_what_it_is_fitted_on(
    command: Command, tried: list[str], oxford: Path, tmp_path: Path
) -> None:
    line = [*tried, "--dataset", f"oxford5k:{oxford}"]
    done(command(*line, "--output", tmp_path / "all"))
    assert given_images(tmp_path / "all") == [str(oxford / "oxbuild_images-v1")]
    draw(oxford / "oxbuild_images-v1" / "stray.jpg", 6)  # not of the data set
    done(command(*line, "--output", tmp_path / "stray"))
    assert given_images(tmp_path / "stray") == []
    shown = (tmp_path / "stray" / "report.html").read_text(encoding="utf-8")
    assert "No folder holds the images that were fitted on" in shown
    done(command(*line, "--output", tmp_path / "other", "--fit_on", oxford / "oxbuild_images-v1"))
    assert given_images(tmp_path / "other") == [str(oxford / "oxbuild_images-v1")]
