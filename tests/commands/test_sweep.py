"""`tfvlad sweep`: what it prints, what it leaves behind, and that its best encoder can be had again."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from helpers.command_results import REASONS, Command, assert_listed, document, done, refusal

from tfvlad.sweep.output_folder import claimed

WRITTEN = {"tfvlad-sweep.txt", "cells", "writer.lock", "results.csv", "results.json", "report.html"}


@pytest.fixture
def tried(network: str) -> list[str]:
    """The flags of a small grid: two layers, two sizes, VLADs and means, of 4 dimensions and whole."""
    return [
        "sweep", f"--backbone={network}", "--preprocessing=tf", "--layers=*", "--image_sizes=64,48", "--clusters=4",
        "--dims=4,full", "--encodings=vlad,mean",
    ]  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_table_files_and_a_report(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = [*tried, "--images", photos, "--queries", queries, "--output", out]
    head, *rows = done(command(*line)).splitlines()
    assert head.split()[:5] == ["layer", "px", "encoding", "K", "dim"]
    assert {(row.split()[0], row.split()[2]) for row in rows[:16]} == {
        (layer, encoding) for layer in ("first", "second") for encoding in ("vlad", "mean")
    }
    assert rows[17] == "Intermediate layers beat the last one"  # each claim once, its comparisons beneath
    assert re.match(r"  [+-]\d\.\d{3} \([+-].* to [+-].*\) (holds|does not hold|cannot be told .*): The best", rows[18])
    assert len([row for row in rows[17:] if row == "VLAD beats pooling"]) == 1
    assert rows[-1] == f"{out}/report.html shows the study"
    assert names(out) == WRITTEN | {"best.flags"}

    study = json.loads((out / "results.json").read_text())
    assert document(command(*line, "--format=json")) == study
    assert (study["dataset"], study["queries"], study["database"], study["proxy"]) == ("queries in photos", 8, 8, False)
    assert len(study["settings"]) == 2 * 2 * 2 * 2  # layers, sizes, encodings, dimensions
    scores = [setting["protocols"]["all"]["score"] for setting in study["settings"]]
    assert scores == sorted(scores, reverse=True)
    assert {finding["claim"] for finding in study["findings"]} == {
        "Intermediate layers beat the last one",
        "Finer scales lift the higher layers",
        "VLAD beats pooling",
        "Short descriptors keep most of the quality",
    }
    with open(out / "results.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["mAP"]) for row in table] == scores
    assert "<title>Sweep of queries in photos" in (out / "report.html").read_text(encoding="utf-8")


def test_more_settings_than_a_screen_holds_are_left_to_the_files(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    line = [*tried, "--images", photos, "--queries", queries, "--output", tmp_path / "out", "--dims=2,3,4,full"]
    out = done(command(*line)).splitlines()
    assert out[21] == f"... and 12 more in {tmp_path}/out/results.csv"


def test_the_best_encoder_again(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    """Fitted with the flagfile, indexed and evaluated by the other commands, it has the figures of its setting."""
    out, encoder, index = (tmp_path / name for name in ("out", "encoder", "index"))
    line = [*tried, "--images", photos, "--queries", queries, "--fit_on", photos, "--fit_on", queries]
    study = document(command(*line, "--output", out, "--encodings=vlad", "--format=json"))
    done(command("fit", f"--flagfile={out}/best.flags", "--encoder", encoder))
    done(command("index", "--images", photos, "--encoder", encoder, "--index", index))
    measured = document(command("evaluate", "--index", index, "--queries", queries, "--exact", "--format=json"))
    best = study["settings"][0]["protocols"]["all"]
    assert (measured["map"], measured["recall_at"]["1"]) == pytest.approx((best["score"], best["recall_at_1"]))


def test_the_best_search_again(command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path) -> None:
    """With both flagfiles, and an index as the second one describes it, the other commands find the same."""
    out, encoder, index = (tmp_path / name for name in ("out", "encoder", "index"))
    line = [*tried, "--layers=second", "--image_sizes=64", "--dims=4", "--encodings=vlad", "--images", photos]
    ways = ["--views=scales:2", "--verify=4", "--query_views=rotations:2", "--expand=1"]
    study = document(command(*line, *ways, "--queries", queries, "--output", out, "--format=json"))
    done(command("fit", f"--flagfile={out}/best.flags", "--encoder", encoder))
    kept = re.search(r"tfvlad index .* (--views=\S+ --local_features=\d+)", (out / "best_search.flags").read_text())
    assert kept is not None
    done(command("index", "--images", photos, "--encoder", encoder, "--index", index, *kept[1].split()))
    found = f"--flagfile={out}/best_search.flags"
    measured = document(command("evaluate", "--index", index, "--queries", queries, found, "--format=json"))
    [search] = study["searches"]
    verified = measured["protocols"]["all"]["verified"]
    assert verified["score"] == pytest.approx(search["protocols"]["all"]["score"])
    assert "000.jpg" in done(command("search", "--index", index, found, queries / "000.jpg"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network with maps, and with fully connected features before its last layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((48, 48, 3))
    maps = keras.layers.Conv2D(8, 5, strides=4, activation="relu", name="maps")(inputs)
    hidden = keras.layers.Dense(16, name="hidden")(keras.layers.Flatten()(maps))
    path = tmp_path_factory.mktemp("classifier") / "classifier.keras"
    keras.Model(inputs, keras.layers.Dense(3, name="classes")(hidden)).save(path)
    return str(path)


@pytest.mark.parametrize(("encoding", "dim"), [("mean", "4"), ("max", "full"), ("gem", "full"), ("fc", "full")])
def test_the_best_encoder_again_whatever_its_encoding(
    command: Command, photos: Path, queries: Path, classifier: str, tmp_path: Path, encoding: str, dim: str
) -> None:
    out, encoder, index = (tmp_path / name for name in ("out", "encoder", "index"))
    line = ["sweep", f"--backbone={classifier}", "--preprocessing=tf", "--layers=maps", "--image_sizes=48"]
    line += [f"--dims={dim}", f"--encodings={encoding}", "--format=json"]
    study = document(command(*line, "--images", photos, "--queries", queries, "--output", out))
    done(command("fit", f"--flagfile={out}/best.flags", "--encoder", encoder))
    done(command("index", "--images", photos, "--encoder", encoder, "--index", index))
    measured = document(command("evaluate", "--index", index, "--queries", queries, "--exact", "--format=json"))
    best = study["settings"][0]["protocols"]["all"]
    assert (measured["map"], measured["recall_at"]["1"]) == pytest.approx((best["score"], best["recall_at_1"]))


def test_a_killed_sweep_goes_on_and_gives_the_same(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    line = [*tried, f"--images={photos}", f"--queries={queries}", "--format=json"]
    code = f"""
import os, signal
from tfvlad.commands._main import run
from tfvlad.sweep import _one_size
judge_dims, seen = _one_size.judge_dims, []
def judge(*arguments):
    seen.append(0)
    if len(seen) == 6:  # the second at the second size
        os.kill(os.getpid(), signal.SIGKILL)
    return judge_dims(*arguments)
_one_size.judge_dims = judge
run({[*line, f"--output={tmp_path}/killed"]!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "scratch" in names(tmp_path / "killed")

    def figures(study: Any) -> tuple[Any, Any]:
        """All that does not depend on how fast the machine was."""
        times = {"network_ms": 0, "encoding_ms": 0}
        return [setting | times for setting in study["settings"]], study["findings"]

    resumed = document(command(*line, "--output", tmp_path / "killed"))
    assert figures(resumed) == figures(document(command(*line, "--output", tmp_path / "whole")))
    assert names(tmp_path / "killed") == names(tmp_path / "whole")


def test_ways_to_search_are_tried_when_asked_for(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = [*tried, "--layers=second", "--image_sizes=64", "--dims=4", "--encodings=vlad", "--images", photos]
    line += ["--queries", queries, "--output", out]
    ways = ["--verify=0,4", "--query_views=whole", "--query_views=rotations:2"]
    printed = done(command(*line, *ways)).splitlines()
    head = next(number for number, row in enumerate(printed) if row.startswith("index views"))
    assert printed[head].split()[-2:] == ["ms/query", "bytes/image"]
    assert all(row.startswith("whole") for row in printed[head + 1 : head + 5])
    assert "Verification lifts the ranking" in printed
    assert "Views of the query lift the ranking" in printed
    assert names(out) == WRITTEN | {"best.flags", "search.csv", "best_search.flags"}
    study = json.loads((out / "results.json").read_text())
    assert document(command(*line, *ways, "--format=json")) == study
    assert [finding["claim"] for finding in study["search_findings"]] == [
        "Verification lifts the ranking",
        "Views of the query lift the ranking",
    ]
    with open(out / "search.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["mAP"]) for row in table] == [each["protocols"]["all"]["score"] for each in study["searches"]]
    assert 'id="searches"' in (out / "report.html").read_text(encoding="utf-8")
    # A sweep that tries none leaves none behind.
    assert "searches" not in document(command(*line, "--format=json"))
    assert names(out) == WRITTEN | {"best.flags"}


def test_without_queries_images_are_to_find_themselves(
    command: Command, tried: list[str], photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = [*tried, "--images", photos, "--output", out, "--proxy_queries=5", "--encodings=mean", "--format=json"]
    study = document(command(*line))
    assert (study["proxy"], study["queries"], study["database"]) == (True, 5, 8)
    assert names(out) == WRITTEN | {"best.flags", "queries"}
    assert len(names(out / "queries")) == 5
    assert "This is a proxy" in (out / "report.html").read_text(encoding="utf-8")
    assert document(command(*line)) == study


def test_a_benchmark_brings_images_queries_and_answers(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    covers = tmp_path / "covers"
    shutil.copytree(photos, covers / "Reference")
    shutil.copytree(queries, covers / "E63")
    line = [*tried, "--dataset", f"smvs:{covers}", "--output", tmp_path / "out", "--format=json"]
    study = document(command(*line))
    assert (study["queries"], study["database"], study["proxy"]) == (8, 8, False)
    said = refusal(command(*line, "--images", photos))
    assert said == "tfvlad sweep: smvs has images and queries of its own; leave --images and --queries out"


def test_images_that_cannot_be_used_are_listed(
    command: Command, tried: list[str], broken: Path, queries: Path, tmp_path: Path
) -> None:
    line = [*tried, "--images", broken, "--queries", queries, "--ground_truth", tmp_path / "truth.json"]
    (tmp_path / "truth.json").write_text(json.dumps({"000.jpg": {"ok": ["000.jpg"]}}))
    swept = command(*line, "--dims=4", "--output", tmp_path / "out", "--format=json")
    assert_listed(swept, *(broken / name for name in REASONS))
    assert {failure["path"] for failure in document(swept, status=1)["failed"]} == {
        str(broken / name) for name in REASONS
    }


def test_a_folder_of_others_is_not_written_to(
    command: Command, tried: list[str], photos: Path, queries: Path, tmp_path: Path
) -> None:
    line = [*tried, "--images", photos, "--queries", queries]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert "mine holds thesis.txt and is not of an earlier sweep" in refusal(
        command(*line, "--output", tmp_path / "mine")
    )
    (tmp_path / "also").mkdir()
    (tmp_path / "also" / "results.csv").touch()
    assert "also holds results.csv and is not of an earlier sweep" in refusal(
        command(*line, "--output", tmp_path / "also")
    )
    assert names(tmp_path / "mine") | names(tmp_path / "also") == {"thesis.txt", "results.csv"}


def test_much_disk_is_announced(
    command: Command, tried: list[str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfvlad.commands.sweep._MUCH_DISK", 1)
    line = [*tried, "--images", photos, "--output", tmp_path / "out", "--format=json"]
    swept = command(*line)
    assert swept.status == 0
    assert re.fullmatch(
        rf"While it is at work, the sweep keeps up to 0\.\d MB in {tmp_path}/out, where [\d.]+ [GM]B are free, "
        r"and takes about \d+\.\d [GM]B of memory\n",
        swept.err,
    )
    assert command(*line).err == ""  # all cells are there


def test_a_sweep_at_work_keeps_others_out(command: Command, tried: list[str], photos: Path, tmp_path: Path) -> None:
    with claimed(str(tmp_path)):
        said = refusal(command(*tried, "--images", photos, "--output", tmp_path))
    assert "is being written to already" in said
    assert not (tmp_path / "queries").exists()
