"""What a sweep takes is told before the first image, and is true; how long it will still take, on a made-up clock."""

from __future__ import annotations

import os
import re
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.sweep import Grid, Needs, Sweep, _unfinished_work, sweep
from tfvlad.sweep._forecast import ProgressBar
from tfvlad.sweep.output_folder import claimed

GRID = Grid(("*",), (64, 48), (4,), (4, 0), ("vlad", "max"))


def test_the_disk_that_is_needed_is_what_is_used(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Needs] = []
    held: list[int] = []
    run_pass = _unfinished_work.run_pass

    def measured(*arguments: Any) -> None:
        run_pass(*arguments)
        files = [path for path in (tmp_path / "scratch").iterdir() if path.name in ("samples", "rows")]
        held.append(sum(path.stat().st_size for path in files))

    monkeypatch.setattr("tfvlad.sweep._codebooks.run_pass", measured)
    monkeypatch.setattr("tfvlad.sweep._one_size.run_pass", measured)
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
    monkeypatch.setattr("tfvlad.sweep._judging._BLOCK_VALUES", 1 << 18)  # blocks that 200 images fill as well
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


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tfvlad.sweep._forecast.time", clock)
    return clock


def test_each_kind_of_work_has_its_own_speed(clock: Clock) -> None:
    with ProgressBar({"images": 1000.0, "codebooks": 400.0, "rankings": 200.0}) as bar:
        assert bar.seconds_left() == 1600.0  # as planned, while nothing is known
        bar.describe("224 px, codebooks")
        assert re.search(r"<26:[34]\d", str(bar._bar))
        clock.now += 1000
        bar.advance("images", 500.0)
        # Nearly twice as slow as planned, for all kinds: (1000 + 10) / (500 + 10); for images, with that as the
        # expectation, (1000 + 10 * 1010 / 510) / 510.
        slow = 1010 / 510
        assert bar.seconds_left() == pytest.approx(500 * (1000 + 10 * slow) / 510 + 400 * slow + 200 * slow)
        clock.now += 200
        bar.advance("codebooks", 200.0)  # as planned; all work so far took 1200 seconds for 700
        slow = 1210 / 710
        images, codebooks = (1000 + 10 * slow) / 510, (200 + 10 * slow) / 210
        assert bar.seconds_left() == pytest.approx(500 * images + 200 * codebooks + 200 * slow)


def test_a_slow_beginning_says_little(clock: Clock) -> None:
    with ProgressBar({"images": 100.0}) as bar:
        clock.now += 10  # the network is traced, kernels are compiled
        bar.advance("images", 1.0)
        assert bar.seconds_left() < 3 * 99  # not ten times


def test_what_an_earlier_sweep_has_done_takes_no_time(clock: Clock) -> None:
    with ProgressBar({"images": 100.0}) as bar:
        bar.skip("images", 60.0)
        assert bar.seconds_left() == 40.0
        clock.now += 10
        bar.advance("images", 10.0)
        assert bar.seconds_left() == 30.0


def test_more_work_than_was_planned_leaves_none(clock: Clock) -> None:
    with ProgressBar({"images": 1.0}) as bar:
        clock.now += 3
        bar.advance("images", 2.0)
        assert bar.seconds_left() == 0.0
