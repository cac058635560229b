"""Altered copies: seeded, kept, true to their original, and never a stand-in for a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfvlad
from tfvlad.evaluation.datasets import DatabaseImage, Dataset
from tfvlad.sweep import Grid, Sweep, self_retrieval
from tfvlad.sweep._altered_copies import alter
from tfvlad.sweep.output_folder import claimed


def copies(database: list[DatabaseImage], folder: Path, count: int = 5, seed: int = 0) -> Dataset:
    return self_retrieval(database, count, folder, seed, "blots", 10**8)


def contents(dataset: Dataset) -> list[bytes]:
    return [Path(query.path).read_bytes() for query in dataset.queries]


def test_copies_are_seeded_and_kept(database: list[DatabaseImage], tmp_path: Path) -> None:
    first = copies(database, tmp_path / "a")
    drawn = contents(first)
    assert len(drawn) == 5
    assert contents(copies(database, tmp_path / "b")) == drawn
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    again = copies(database, tmp_path / "a")
    assert (again.queries, again.protocols) == (first.queries, first.protocols)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == written
    other = copies(database, tmp_path / "a", seed=1)
    assert contents(other) != drawn
    assert len(list((tmp_path / "a").iterdir())) == 5  # those of the first seed are gone
    assert len(copies(database, tmp_path / "a", count=100).queries) == len(database)


def test_a_copy_is_altered_and_still_like_its_original(database: list[DatabaseImage], tmp_path: Path) -> None:
    dataset = copies(database, tmp_path, count=12)

    def colours(path: str) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((1, 1), Image.Resampling.BOX), np.float64)[0, 0]

    for query, truth in zip(dataset.queries, dataset.ground_truth, strict=True):
        original = database[truth["ok"][0]].path
        with Image.open(query.path) as copy, Image.open(original) as image:
            assert 0.55 < copy.width / image.width < 0.9
            assert copy.format == "JPEG"
        assert np.abs(colours(query.path) - colours(original)).max() < 40


def test_the_largest_and_the_smallest_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    assert max(alter(np.zeros((3000, 2000, 3), np.uint8), generator).size) <= 1024
    assert min(alter(np.zeros((1, 1, 3), np.uint8), generator).size) == 1


def test_files_that_cannot_be_read_are_passed_over(database: list[DatabaseImage], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    bad = [DatabaseImage("broken.jpg", str(broken), number) for number in range(12, 20)]
    dataset = copies([*database, *bad], tmp_path / "copies", count=12)
    assert sorted(truth["ok"][0] for truth in dataset.ground_truth) == list(range(12))
    with pytest.raises(
        tfvlad.ConfigError, match=r"none of the 8 images can be read; the first is .*broken\.jpg: not a"
    ):
        copies(bad, tmp_path / "copies")


def test_copies_find_their_originals(
    database: list[DatabaseImage], config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    grid = Grid(("first",), (64,), (8,), (0,))
    study, _ = Sweep(grid, config).run_on_copies(database, 12, tmp_path, "blots")
    assert (study.proxy, study.name, len(study.queries)) == (True, "blots", 12)
    assert study.cells[0].qualities["all"].score > 0.5  # by chance: (1 + 1/2 + ... + 1/12) / 12 = 0.26


def test_one_image_says_nothing(database: list[DatabaseImage], config: tfvlad.EncoderConfig, tmp_path: Path) -> None:
    with pytest.raises(tfvlad.ConfigError, match="one image alone is found by every setting"):
        Sweep(Grid(("first",), (64,), (8,), (0,)), config).run_on_copies(database[:1], 1, tmp_path / "out", "one")
    assert not (tmp_path / "out").exists()


def test_another_sweep_at_work_keeps_its_copies(
    database: list[DatabaseImage], config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    with claimed(str(tmp_path)):
        drawn = contents(copies(database, tmp_path / "queries"))
        with pytest.raises(tfvlad.ArtifactError, match="being written to already"):
            Sweep(Grid(("first",), (64,), (8,), (0,)), config).run_on_copies(database, 12, tmp_path, "blots", seed=1)
    assert contents(copies(database, tmp_path / "queries")) == drawn


def test_files_of_other_names_are_not_deleted(database: list[DatabaseImage], tmp_path: Path) -> None:
    others = {tmp_path / name for name in ("holiday.jpg", "2024-06.jpg", "000001-abc.jpg", "000001-0123456789ab.png")}
    for path in others:
        path.touch()
    copies(database, tmp_path)
    copies(database, tmp_path, seed=1)
    assert others < set(tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == len(others) + 5
