"""What a sweep takes: said before the first image, true, and not growing with the number of images."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.sweep import Grid, Needs, Sweep, passes, sweep
from tfvlad.sweep.output import claimed

GRID = Grid(("*",), (64, 48), (4,), (4, 0), ("vlad", "max"))


def test_the_disk_that_is_needed_is_what_is_used(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Needs] = []
    held: list[int] = []
    run_pass = passes.run_pass

    def measured(*arguments: Any) -> None:
        run_pass(*arguments)
        files = [path for path in (tmp_path / "scratch").iterdir() if path.name in ("samples", "rows")]
        held.append(sum(path.stat().st_size for path in files))

    monkeypatch.setattr("tfvlad.sweep.codebooks.run_pass", measured)
    monkeypatch.setattr("tfvlad.sweep.size.run_pass", measured)
    Sweep(GRID, config).run(dataset, tmp_path, on_needs=told.append)
    # At 64 pixels: samples of 12 images, 16x16 and 8x8 cells of 8 channels; then 24 images, two VLADs of 32 and two
    # poolings of 8. At 48 pixels 12x12 and 6x6 cells.
    counts = 4 * 2 * 12
    assert held == [
        4 * 12 * 8 * (256 + 64) + counts,
        4 * 24 * 2 * (32 + 8),
        4 * 12 * 8 * (144 + 36) + counts,
        4 * 24 * 2 * (32 + 8),
    ]
    assert len(told) == 1
    assert max(held) <= told[0].disk <= 1.1 * max(held)
    assert 5e8 < told[0].memory < 2e9
    Sweep(GRID, config).run(dataset, tmp_path, on_needs=told.append)
    assert told[1].disk == 0  # nothing is left to do


def test_a_disk_that_is_too_small_is_refused_before_the_first_image(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 100_000))  # type: ignore[attr-defined]
    # 24 descriptors of 2000 * 8 values, and the codebook, beside a little for the samples: 1.6 MB
    grid = Grid(("first",), (96,), (2000,), (0,))
    said = r"out has 0\.1 MB free, and the sweep keeps up to 1\.6 MB there while it is at work; give an output folder"
    with pytest.raises(tfvlad.ConfigError, match=said):
        sweep(dataset, tmp_path / "out", grid, config)
    assert not (tmp_path / "out" / "scratch").exists()


def test_what_a_stopped_sweep_has_left_is_room(dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path) -> None:
    with claimed(str(tmp_path)):
        (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "plan.json").write_text('{"key": "of another sweep", "streams": []}')
    (tmp_path / "scratch" / "rows").write_bytes(bytes(50_000_000))
    told: list[Needs] = []
    free = shutil.disk_usage(tmp_path).free
    Sweep(GRID, config).run(dataset, tmp_path, on_needs=told.append)
    assert told[0].free == pytest.approx(free + 50_000_000, abs=40_000_000)


def test_settings_of_which_none_is_possible_are_refused_before_the_first_image(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    with pytest.raises(tfvlad.ConfigError, match="no setting is possible; the first: PCA of 12 images gives 11 dim"):
        sweep(dataset, tmp_path / "a", Grid(("first",), (64,), (4,), (20, 32)), config)
    with pytest.raises(tfvlad.ConfigError, match=r"the first: 3072 local features of the images .* 5000 clusters"):
        sweep(dataset, tmp_path / "b", Grid(("first",), (64,), (5000,), (0,)), config)
    assert os.listdir(tmp_path) == []


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond names and file stamps. Ten times the images have descriptors of 30 MB more."""
    monkeypatch.setattr("tfvlad.images.loading.LARGEST_FILE", 1 << 16)  # reading takes so much address space
    monkeypatch.setattr("tfvlad.sweep.judging._BLOCK_VALUES", 1 << 18)  # blocks that 200 images fill as well
    network = save_tiny_network(tmp_path / "tiny.keras", channels=64)
    config = tfvlad.EncoderConfig(backbone=network, preprocessing="tf", codebook_samples=2000, whitening_samples=100)
    grid = Grid(("second",), (16,), (64,), (32, 0))
    generator = np.random.default_rng(0)
    for number in range(2000):
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"{number:04}.png")
    images = [DatabaseImage(f"{number:04}.png", str(tmp_path / f"{number:04}.png"), number) for number in range(2000)]

    def peak(number: int) -> int:
        dataset = Dataset(
            [Query(image.path) for image in images[:20]],
            {"all": [{"ok": [query], "junk": []} for query in range(20)]},
            images[:number],
        )
        tracemalloc.start()  # knows Python's and NumPy's memory, not what is mapped from files
        sweep(dataset, tmp_path / f"out{number}", grid, config)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few = peak(200)
    assert peak(2000) - few < 8e6
