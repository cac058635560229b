"""A sweep writes into its own folder only, and deletes nothing that is not a sweep's."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfvlad
from tfvlad.evaluation.datasets import DatabaseImage, Dataset
from tfvlad.sweep import Grid, Sweep
from tfvlad.sweep.output_folder import check_output, claimed

GRID = Grid(("first",), (48,), (4,), (0,), ("max",))


@pytest.mark.parametrize("mine", ["cells/blood.json", "queries/000001.jpg", "scratch/plan.json", "results.csv"])
def test_a_folder_of_somebody_else_is_refused(
    dataset: Dataset, database: list[DatabaseImage], config: tfvlad.EncoderConfig, tmp_path: Path, mine: str
) -> None:
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).touch()
    before = set(tmp_path.rglob("*"))
    sweep = Sweep(GRID, config)
    said = rf"holds {mine.split('/')[0]} and is not of an earlier sweep; give a folder that is empty or new"
    with pytest.raises(tfvlad.ConfigError, match=said):
        sweep.run(dataset, tmp_path)
    with pytest.raises(tfvlad.ConfigError, match=said):
        sweep.run_on_copies(database, 5, tmp_path, "blots")
    assert set(tmp_path.rglob("*")) == before


def test_a_folder_is_known_before_anything_else_is_in_it(tmp_path: Path) -> None:
    with claimed(str(tmp_path / "out")):
        pass
    (tmp_path / "out" / "anything").touch()
    check_output(str(tmp_path / "out"))
    (tmp_path / "file").touch()
    with pytest.raises(tfvlad.ConfigError, match="file is not a folder"):
        check_output(str(tmp_path / "file"))


def test_a_scratch_folder_of_somebody_else_is_left_alone(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    with claimed(str(tmp_path)):
        (tmp_path / "scratch").mkdir()
        (tmp_path / "scratch" / "thesis.txt").touch()
    with pytest.raises(tfvlad.ConfigError, match="scratch is no sweep's; give another output folder, or move it away"):
        Sweep(GRID, config).run(dataset, tmp_path)
    assert (tmp_path / "scratch" / "thesis.txt").exists()
