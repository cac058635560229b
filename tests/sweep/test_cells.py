"""A cell is what an encoder fitted with the same settings, and an exact search, come to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import reference
from PIL import Image

import tfvlad
from tfvlad.errors import Failure
from tfvlad.evaluation.datasets import Dataset, Query
from tfvlad.evaluation.metrics import evaluate
from tfvlad.images.loading import image_loader
from tfvlad.sweep import Cell, Grid, Setting, Study, sweep

GRID = Grid(("*",), (64, 48), (4, 6), (3, 6, 0), ("vlad", "mean", "max", "gem"))


@pytest.fixture(scope="module")
def study(dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study, failures = sweep(dataset, tmp_path_factory.mktemp("swept") / "out", GRID, config, seed=3)
    assert failures == []
    return study


def cell_of(study: Study, setting: Setting) -> Cell:
    return next(cell for cell in study.cells if cell.setting == setting)


def assert_judged(cell: Cell, descriptors: np.ndarray, queries: np.ndarray, dataset: Dataset) -> None:
    """The cell's figures are those of ranking by cosine."""
    scores = (queries.astype(np.float64) @ descriptors.T.astype(np.float64)).astype(np.float32)
    rankings = np.argsort(-scores, axis=1, kind="stable")
    expected = evaluate(rankings, dataset.ground_truth)
    quality = cell.qualities["all"]
    np.testing.assert_allclose(quality.values, expected.aps)
    np.testing.assert_array_equal(quality.first_ranks, expected.first_ranks)
    assert quality.score == pytest.approx(expected.map)
    assert quality.recall_at_1 == pytest.approx(expected.recall_at[1])
    np.testing.assert_array_equal(cell.top, rankings[:, :5])


def test_every_combination_is_a_cell_and_the_study_is_whole(study: Study, dataset: Dataset) -> None:
    assert study.layers == ["first", "second"]
    assert len(study.cells) == 2 * 2 * 5 * 3  # sizes, layers, two K and three poolings, dims
    assert study.cells == sorted(study.cells, key=lambda cell: cell.setting)
    assert len({cell.setting for cell in study.cells}) == len(study.cells)
    assert (study.fit_on, study.protocols, study.measure, study.proxy) == (12, ["all"], "mAP", False)
    assert study.right == [[number] for number in range(12)]
    assert study.queries == [query.path for query in dataset.queries]
    for cell in study.cells:
        whole = 8 * max(1, cell.setting.clusters)
        assert cell.size == (cell.setting.dim or whole)
        assert not cell.impossible
        assert cell.network_ms > 0
        assert cell.encoding_ms > 0
        assert cell.top.shape == (12, 5)
    assert len({cell.qualities["all"].score for cell in study.cells}) > 5  # the settings do differ


@pytest.mark.parametrize(("layer", "size", "clusters", "dim"), [("first", 48, 6, 0), ("second", 64, 4, 6)])
def test_a_vlad_is_that_of_an_encoder(
    study: Study, dataset: Dataset, config: tfvlad.EncoderConfig, layer: str, size: int, clusters: int, dim: int
) -> None:
    own = dataclasses.replace(config, layer=layer, image_size=size, clusters=clusters, dim=dim or None)
    encoder = tfvlad.Encoder.fit(study.database, own, seed=3)
    vectors, queries = encoder.encode(study.database), encoder.encode(study.queries)
    assert_judged(cell_of(study, Setting(size, layer, "vlad", clusters, dim)), vectors, queries, dataset)


@pytest.mark.parametrize("dim", [3, 6])
def test_fewer_dimensions_of_one_fit_are_those_of_a_fit_with_fewer(
    study: Study, dataset: Dataset, config: tfvlad.EncoderConfig, dim: int
) -> None:
    own = dataclasses.replace(config, layer="second", image_size=48, clusters=6, dim=dim)
    encoder = tfvlad.Encoder.fit(study.database, own, seed=3)
    vectors, queries = encoder.encode(study.database), encoder.encode(study.queries)
    assert_judged(cell_of(study, Setting(48, "second", "vlad", 6, dim)), vectors, queries, dataset)


@pytest.mark.parametrize("encoding", ["mean", "max", "gem"])
def test_poolings_are_what_they_say(
    study: Study, dataset: Dataset, config: tfvlad.EncoderConfig, encoding: str
) -> None:
    whole = keras.models.load_model(config.backbone)
    network = keras.Model(whole.inputs, whole.get_layer("first").output)
    loader = image_loader(64, "stretch", "tf")

    def pooled(paths: list[str]) -> Iterator[Any]:
        for path in paths:
            cells = np.asarray(network(loader.load(path)[None])[0], np.float64).reshape(-1, 8)
            columns = {
                "mean": [sum(column) / len(column) for column in cells.T],
                "max": [max(column) for column in cells.T],
                "gem": [(sum(max(x, 1e-6) ** 3 for x in column) / len(column)) ** (1 / 3) for column in cells.T],
            }
            yield reference.unit(np.array(columns[encoding]))

    vectors, queries = (np.stack([*pooled(paths)]) for paths in (study.database, study.queries))
    assert_judged(cell_of(study, Setting(64, "first", encoding, 0, 0)), vectors, queries, dataset)  # type: ignore[arg-type]


def test_what_is_not_possible_says_why(dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path) -> None:
    grid = Grid(("second",), (4, 64), (5, 4), (20, 2), ("vlad", "mean"))
    few = dataclasses.replace(config, codebook_samples=100)
    study, _ = sweep(dataset, tmp_path / "out", grid, few)
    why = {cell.setting: cell.impossible for cell in study.cells}
    assert why[Setting(64, "second", "vlad", 4, 20)] == "PCA of 12 images gives 11 dimensions at most"
    assert why[Setting(64, "second", "vlad", 4, 2)] == ""
    assert why[Setting(64, "second", "mean", 0, 20)] == "the whole descriptor has only 8 dimensions"
    for cell in study.cells:
        assert bool(cell.impossible) == (cell.qualities == {})
    again, _ = sweep(dataset, tmp_path / "out", grid, few)
    assert [cell.impossible for cell in again.cells] == [cell.impossible for cell in study.cells]


def test_more_clusters_than_features_are_not_possible(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    study, _ = sweep(dataset, tmp_path / "out", Grid(("second",), (8,), (4, 50), (0,)), config)
    few, many = study.cells
    assert (few.impossible, few.size) == ("", 32)
    assert many.impossible == "12 local features of the images to fit on do not make 50 clusters"


def test_a_query_may_be_a_part_of_its_image_and_files_that_are_none_are_told(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    queries = [
        Query(dataset.database[0].path, (0, 0, 48, 72)),
        Query(dataset.database[1].path, (900, 0, 999, 72)),
        Query(str(broken)),
        dataset.queries[3],
    ]
    truths = [{"ok": [number], "junk": []} for number in range(4)]
    own = dataclasses.replace(dataset, queries=queries, protocols={"all": truths})
    fit_on = [*(image.path for image in dataset.database), str(broken)]
    study, failures = sweep(own, tmp_path / "out", Grid(("first",), (64,), (4,), (0,)), config, fit_on)
    assert failures == [
        Failure(queries[1].path, "the box 900,0 to 999,72 is not inside its 96 x 72 pixels"),
        Failure(str(broken), "not an image in a known format"),
    ]
    assert study.fit_on == 12
    (cell,) = study.cells
    values = cell.qualities["all"].values
    np.testing.assert_array_equal(np.isnan(values), [False, True, True, False])
    np.testing.assert_array_equal(cell.top[1:3], -1)
    encoder = tfvlad.Encoder.fit(
        study.database, dataclasses.replace(config, layer="first", image_size=64, clusters=4, dim=None)
    )
    assert cell.qualities["all"].score == pytest.approx(values[[0, 3]].mean())
    with Image.open(queries[0].path) as image:
        part = encoder.encode(np.asarray(image.convert("RGB"))[:, :48])
    assert cell.top[0, 0] == np.argmax(encoder.encode(study.database) @ part[0])


def test_images_of_which_none_can_be_used_end_the_sweep(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(
        tfvlad.ConfigError, match=r"none of the 1 images can be used; the first is .*broken\.jpg: not a"
    ):
        sweep(dataset, tmp_path / "out", Grid(("first",), (64,), (4,), (0,)), config, [str(broken)])
    only = dataclasses.replace(dataset, queries=[Query(str(broken))] * 12)
    with pytest.raises(tfvlad.ConfigError, match=r"no query or no database image can be used; the first is .*broken"):
        sweep(only, tmp_path / "out", Grid(("first",), (64,), (4,), (0,)), config)


def test_images_that_give_too_few_features_are_found_out_on_the_way(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    """Numbers of files do not tell: eleven of twelve cannot be used, and one has one cell."""
    fit_on = [dataset.database[0].path]
    for number in range(11):
        (tmp_path / f"{number}.jpg").write_bytes(b"no picture")
        fit_on.append(str(tmp_path / f"{number}.jpg"))
    study, failures = sweep(dataset, tmp_path / "out", Grid(("second",), (8,), (4,), (0,)), config, fit_on)
    assert [cell.impossible for cell in study.cells] == [
        "clusters=4 is too many for 1 local features; give more images"
    ]
    assert len(failures) == 11
    again, still = sweep(dataset, tmp_path / "out", Grid(("second",), (8,), (4,), (0,)), config, fit_on)
    assert ([cell.impossible for cell in again.cells], still) == ([study.cells[0].impossible], failures)
