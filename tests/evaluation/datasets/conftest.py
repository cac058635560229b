"""Data sets of files without content."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.empty_benchmarks import make_empty_files, write_texts


@pytest.fixture
def oxford(tmp_path: Path) -> Path:
    """What ``oxbuild_images-v1.tgz`` and ``gt_files_170407.tgz`` unpack to, with two queries."""
    folder = tmp_path / "oxford"
    stems = ["all_souls_000013", "all_souls_000026", "all_souls_000091", "hertford_000015", "oxford_000317"]
    make_empty_files(folder / "oxbuild_images-v1", *(f"{stem}.jpg" for stem in stems))
    write_texts(
        folder / "gt_files_170407",
        all_souls_1_query="oxc1_all_souls_000013 136.5 34.1 648.5 955.7\n",
        all_souls_1_good="all_souls_000013\nall_souls_000026\n",
        all_souls_1_ok="oxford_000317\n",
        all_souls_1_junk="all_souls_000091\n",
        hertford_1_query="oxc1_hertford_000015 0 0 100 50\n",
        hertford_1_good="hertford_000015\n",
        hertford_1_ok="",
        hertford_1_junk="",
    )
    return folder


@pytest.fixture
def covers(tmp_path: Path) -> Path:
    names = [f"{device}/{number}.jpg" for device in ("Canon", "E63", "Reference") for number in ("001", "002")]
    return make_empty_files(tmp_path / "dvd_covers", *names)
