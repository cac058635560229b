"""What is done is not done again: after a kill, for more settings, for the same settings."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from PIL import Image

import tfvlad
from tfvlad.errors import ArtifactError
from tfvlad.evaluation.datasets import Dataset, Query
from tfvlad.sweep import Cell, Grid, Study, _codebooks, _judging, _one_size, _unfinished_work, sweep
from tfvlad.sweep._keys import digest
from tfvlad.sweep._stored_cells import cell_to_json

GRID = Grid(("*",), (64, 48), (4,), (4, 0), ("vlad", "max"))


@pytest.fixture(scope="module", autouse=True)
def _small_batches() -> Iterator[None]:
    """Windows of two images, and word of each; of `whole` too, as a processor may add up a batch in another order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfvlad.encoding.features._LARGEST_BATCH", 1)
        patch.setattr(_unfinished_work, "_SAVE_EVERY", 0.0)
        yield


@pytest.fixture(scope="module")
def whole(
    _small_batches: None, dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    return sweep(dataset, tmp_path_factory.mktemp("whole"), GRID, config)[0]


def figures(study: Study) -> list[Any]:
    """All that does not depend on how fast the machine was."""
    return [cell_to_json(dataclasses.replace(cell, network_ms=0, encoding_ms=0)) for cell in study.cells]


class Counter:
    """Counts the images that pass the network, and stops a sweep after some of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> None:
        self.images = 0
        run_pass = _unfinished_work.run_pass

        def counted(extractor: Any, *arguments: Any) -> None:
            extracted = extractor.extracted

            def extract(batch: Any) -> Any:
                if self.images == stop_after:
                    raise KeyboardInterrupt
                self.images += len(batch.positions)
                return extracted(batch)

            extractor.extracted = extract
            run_pass(extractor, *arguments)

        for module in (_codebooks, _one_size):
            monkeypatch.setattr(module, "run_pass", counted)


@pytest.mark.parametrize("stop_after", [5, 25, 70])
def test_a_stopped_sweep_goes_on_where_it_was(
    whole: Study, dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, stop_after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        first = Counter(patch, stop_after)
        with pytest.raises(KeyboardInterrupt):
            sweep(dataset, tmp_path, GRID, config)
    with pytest.MonkeyPatch.context() as patch:
        second = Counter(patch)
        study, _ = sweep(dataset, tmp_path, GRID, config)
    assert figures(study) == figures(whole)
    every = 2 * (12 + 24)  # sizes; the codebooks' images, then all
    assert every <= first.images + second.images <= every + 2  # at most the window at work is done again


OTHER_GRIDS = {
    "fewer layers": dataclasses.replace(GRID, layers=("second",)),
    "fewer encodings": dataclasses.replace(GRID, encodings=("max",)),
    "more clusters": dataclasses.replace(GRID, clusters=(4, 6)),
    "whole descriptors": dataclasses.replace(GRID, dims=(0,)),
    "other dimensions": dataclasses.replace(GRID, dims=(3, 0)),
}


@pytest.mark.parametrize(
    ("before", "after", "stop_after"),  # in the codebooks' pass, in the descriptors' pass
    [(None, name, 5) for name in OTHER_GRIDS] + [(name, None, 20) for name in OTHER_GRIDS],
)
def test_a_stopped_sweep_goes_on_with_another_grid(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, before: str | None, after: str | None,
    stop_after: int,
) -> None:  # fmt: skip
    """The whitening is fitted on other images than the database, which only short descriptors need described."""
    fit_on = [query.path for query in dataset.queries[:9]] + [image.path for image in dataset.database[:3]]
    own = dataclasses.replace(dataset, queries=dataset.queries[6:], protocols={"all": dataset.ground_truth[6:]})
    grids = [OTHER_GRIDS[name] if name else GRID for name in (before, after)]
    grids = [dataclasses.replace(grid, image_sizes=(48,)) for grid in grids]
    with pytest.MonkeyPatch.context() as patch:
        Counter(patch, stop_after)
        with pytest.raises(KeyboardInterrupt):
            sweep(own, tmp_path / "stopped", grids[0], config, fit_on)
    resumed, failures = sweep(own, tmp_path / "stopped", grids[1], config, fit_on)
    undisturbed, expected = sweep(own, tmp_path / "whole", grids[1], config, fit_on)
    assert figures(resumed) == figures(undisturbed)
    assert failures == expected


def test_images_that_one_layer_has_no_room_for_are_left_out_of_no_other_run(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    inputs = keras.Input((None, None, 3))
    shallow = keras.layers.Conv2D(8, 3, strides=2, name="first")(inputs)
    keras.Model(inputs, keras.layers.Conv2D(8, 3, name="second")(shallow)).save(tmp_path / "deep.keras")
    narrow = tmp_path / "narrow.png"
    Image.new("RGB", (4, 60), "red").save(narrow)
    queries = [*dataset.queries, Query(str(narrow))]
    truths = [*dataset.ground_truth, {"ok": [0], "junk": []}]
    own = dataclasses.replace(dataset, queries=queries, protocols={"all": truths})
    fitting = dataclasses.replace(config, backbone=str(tmp_path / "deep.keras"), resize="fit")
    grids = [dataclasses.replace(GRID, layers=layers, image_sizes=(48,)) for layers in (GRID.layers, ("first",))]
    sweep(own, tmp_path / "one", grids[0], fitting)
    after, failures = sweep(own, tmp_path / "one", grids[1], fitting)
    alone, expected = sweep(own, tmp_path / "other", grids[1], fitting)
    assert figures(after) == figures(alone)
    assert failures == expected


def test_folders_in_the_scratch_are_left_alone(tmp_path: Path) -> None:
    begun = _unfinished_work.Scratch(str(tmp_path / "scratch"), "key", [], [])
    (tmp_path / "scratch" / "own").mkdir()
    begun.delete()
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["own"]


def test_a_file_of_another_size_is_not_taken_over(tmp_path: Path) -> None:
    begun = _unfinished_work.Scratch(str(tmp_path / "scratch"), "key", [], [])
    begun.arrays("rows", [(3, 2)])[0][:] = 1
    assert begun.arrays("rows", [(3, 2)])[0].tolist() == [[1, 1]] * 3
    with pytest.raises(tfvlad.ArtifactError, match=r"rows: must have 48 bytes, has 24; delete .*scratch"):
        begun.arrays("rows", [(6, 2)])


def test_a_killed_sweep_gives_the_same(
    whole: Study, dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    (tmp_path / "asked").write_bytes(pickle.dumps((dataset, str(tmp_path / "out"), GRID, config)))
    code = f"""
import os, pickle, signal
from tfvlad.encoding import features
from tfvlad.sweep import _one_size, _unfinished_work, sweep
features._LARGEST_BATCH, _unfinished_work._SAVE_EVERY = 1, 0.0
judged, seen = _one_size.judge_dims, []
def judge(*arguments):
    seen.append(0)
    if len(seen) == 6:  # the second at the second size
        os.kill(os.getpid(), signal.SIGKILL)
    return judged(*arguments)
_one_size.judge_dims = judge
sweep(*pickle.loads(open({str(tmp_path / "asked")!r}, "rb").read()))
"""
    killed = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.MonkeyPatch.context() as patch:
        counter = Counter(patch)
        study, _ = sweep(dataset, tmp_path / "out", GRID, config)
    assert figures(study) == figures(whole)
    assert counter.images == 0


def test_nothing_is_left_but_cells_and_nothing_is_done_twice(
    whole: Study, dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(dataset, tmp_path, dataclasses.replace(GRID, layers=("first",), dims=(4,)), config)
    assert set(os.listdir(tmp_path)) == {"tfvlad-sweep.txt", "cells", "writer.lock"}
    counter = Counter(monkeypatch)
    judged: list[Any] = []
    judge_dims = _one_size.judge_dims

    def judge(rows: Any, roles: Any, dataset: Any, dims: list[int], *others: Any) -> Any:
        judged.append((rows.shape[1], dims))
        return judge_dims(rows, roles, dataset, dims, *others)

    monkeypatch.setattr(_one_size, "judge_dims", judge)
    again, _ = sweep(dataset, tmp_path, dataclasses.replace(GRID, layers=("first",), dims=(4,)), config)
    assert (counter.images, judged) == (0, [])
    assert [cell_to_json(cell) for cell in again.cells] == [cell_to_json(cell) for cell in again.cells]
    study, _ = sweep(dataset, tmp_path, GRID, config)
    assert judged == 2 * [(32, [0]), (8, [0]), (32, [4, 0]), (8, [4, 0])]  # what is new alone
    assert figures(study) == figures(whole)


def test_each_number_of_dimensions_is_kept_as_soon_as_it_is_judged(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    grid = Grid(("first",), (48,), (4,), (6, 4, 0), ("vlad",))
    judge, done = _judging._judge, []

    def stop_in_the_second(*arguments: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(judge(*arguments))
        return done[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_judging, "_judge", stop_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            sweep(dataset, tmp_path, grid, config)
    calls: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_judging, "_judge", lambda *arguments: calls.append(0) or judge(*arguments))
        sweep(dataset, tmp_path, grid, config)
    assert len(calls) == 2


def test_other_libraries_give_other_cells_and_another_processor_goes_on(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(("first",), (48,), (4,), (4,), ("vlad",))
    monkeypatch.setattr(_one_size, "processor", lambda: "slow, 1 core")
    sweep(dataset, tmp_path, grid, config)
    counter = Counter(monkeypatch)
    monkeypatch.setattr(_one_size, "processor", lambda: "fast, 2 cores")
    study, _ = sweep(dataset, tmp_path, dataclasses.replace(grid, dims=(4, 0)), config)
    assert [cell.processor for cell in study.cells] == ["fast, 2 cores", "slow, 1 core"]
    assert study.processors == ["fast, 2 cores", "slow, 1 core"]
    counter.images = 0
    monkeypatch.setattr("tfvlad.sweep._keys._libraries", lambda: "TensorFlow 9.1, Keras 9.2, NumPy 9.3")
    sweep(dataset, tmp_path, grid, config)
    assert counter.images == 36


def test_an_edited_image_and_another_seed_are_other_cells(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(("first",), (48,), (4,), (4,), ("vlad",))
    sweep(dataset, tmp_path, grid, config)
    counter = Counter(monkeypatch)
    sweep(dataset, tmp_path, grid, config, seed=1)
    assert counter.images == 36
    sweep(dataset, tmp_path, grid, dataclasses.replace(config, power=0.5))
    assert counter.images == 72
    path = Path(dataset.queries[0].path)
    before = path.read_bytes()
    os.utime(path)
    sweep(dataset, tmp_path, grid, dataclasses.replace(config, power=0.5))
    assert counter.images == 72  # only its date is new
    path.write_bytes(before + b"edited")
    try:
        sweep(dataset, tmp_path, grid, config)
    finally:
        path.write_bytes(before)
    assert counter.images == 108


def test_a_damaged_cell_is_computed_anew(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(("first",), (48,), (4,), (4,), ("max",))
    first: list[Cell] = sweep(dataset, tmp_path, grid, config)[0].cells
    for path in cells_of(tmp_path):
        path.write_text("{")
    counter = Counter(monkeypatch)
    again = sweep(dataset, tmp_path, grid, config)[0].cells
    assert counter.images == 24
    assert first[0].qualities["all"].score == again[0].qualities["all"].score


def cells_of(folder: Path) -> list[Path]:
    return [path for path in (folder / "cells").iterdir() if not path.name.startswith("failed-")]


def forged(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """Changes a stored cell, and gives it the digest that belongs to it."""

    def edit(text: str) -> str:
        stored = json.loads(text)
        stored.pop("digest")
        change(stored)
        return json.dumps({**stored, "digest": digest(stored)})

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "[]",
        lambda text: "{}",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"score": ', '"score": 1'),
        lambda text: text.replace('"digest"', '"other"'),
        forged(lambda cell: cell["qualities"]["all"].update(score=1e9)),
        forged(lambda cell: cell["qualities"]["all"].update(score="1")),
        forged(lambda cell: cell["qualities"]["all"]["values"].pop()),
        forged(lambda cell: cell["qualities"]["all"].update(values=[-1.0] * 12)),
        forged(lambda cell: cell["qualities"]["all"].update(first_ranks=[10**30] * 12)),
        forged(lambda cell: cell["qualities"].update(none={})),
        forged(lambda cell: cell.update(qualities={})),
        forged(lambda cell: cell.update(top=[[4711] * 5] * 12)),
        forged(lambda cell: cell.update(network_ms=-1)),
        forged(lambda cell: cell.update(size=10**40)),
        forged(lambda cell: cell.update(processor=["x"])),
        forged(lambda cell: cell.update(more=1)),
        forged(lambda cell: cell["setting"].update(layer="second")),
    ],
)
def test_what_is_no_cell_of_this_setting_is_computed_anew(
    dataset: Dataset,
    config: tfvlad.EncoderConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[str], str],
) -> None:
    caplog.set_level(logging.WARNING, "tfvlad")
    grid = Grid(("first",), (48,), (4,), (4,), ("max",))
    first = sweep(dataset, tmp_path, grid, config)[0].cells
    (path,) = cells_of(tmp_path)
    path.write_text(damage(path.read_text()))
    again = sweep(dataset, tmp_path, grid, config)[0].cells
    assert again[0].qualities["all"].score == first[0].qualities["all"].score
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("tfvlad"))
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith("), and is computed again")


def test_failures_that_cannot_be_read_are_not_guessed(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    grid = Grid(("first",), (48,), (4,), (4,), ("max",))
    sweep(dataset, tmp_path, grid, config)
    (path,) = (tmp_path / "cells").glob("failed-*")
    for damage in ("{", '{"a": 1}', "[1]", '[["a", "b", "c"]]'):
        path.write_text(damage)
        with pytest.raises(ArtifactError, match=r"is damaged; delete .* to start again"):
            sweep(dataset, tmp_path, grid, config)


def test_a_copied_sweep_of_copied_images_is_taken_up(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(("first",), (48,), (4,), (4,), ("max",))
    first = sweep(dataset, tmp_path / "a", grid, config)[0].cells
    elsewhere = tmp_path / "images"
    elsewhere.mkdir()

    def moved(path: str) -> str:
        return shutil.copy(path, elsewhere / f"{len(os.listdir(elsewhere)):03}{Path(path).name}")

    copy = dataclasses.replace(
        dataset,
        queries=[query._replace(path=moved(query.path)) for query in dataset.queries],
        database=[image._replace(path=moved(image.path)) for image in dataset.database],
    )
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    counter = Counter(monkeypatch)
    again = sweep(copy, tmp_path / "b", grid, config)[0].cells
    assert counter.images == 0
    assert cell_to_json(again[0]) == cell_to_json(first[0])
