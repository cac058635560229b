"""Files that commands write: what tfvlad wrote is replaced, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from helpers.command_results import Command, done, refusal


@pytest.fixture
def own_index(verifying_index: Path, tmp_path: Path) -> Path:
    shutil.copytree(verifying_index, tmp_path / "i.index")
    return tmp_path / "i.index"


def contents(*folders: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("catalog.sqlite-shm", "catalog.sqlite-wal")
    }


@pytest.mark.parametrize(
    "target", ["catalog.sqlite", "graph.hnsw", "new.html", "encoder/page.html", "encoder/encoder.json"]
)
def test_nothing_is_written_into_an_index(
    command: Command, own_index: Path, queries: Path, photos: Path, target: str
) -> None:
    before = contents(own_index)
    query = queries / "000.jpg"
    page = own_index / target
    assert "lies inside the index or encoder" in refusal(command("search", "--index", own_index, query, "--html", page))
    line = ["evaluate", "--index", own_index, "--queries", queries, "--ground_truth=same_name", "--html", page]
    assert "lies inside the index or encoder" in refusal(command(*line))
    if target.endswith(".html"):
        line = ["explain", "--index", own_index, query, photos / "000.jpg", "--output", page]
        assert "lies inside the index or encoder" in refusal(command(*line))
    assert contents(own_index) == before


def test_an_encoder_inside_an_index_is_not_replaced(
    command: Command, own_index: Path, photos: Path, fit_flags: list[str]
) -> None:
    before = contents(own_index)
    line = ["fit", "--images", photos, "--encoder", own_index / "encoder", *fit_flags, "--seed=5"]
    assert "lies inside the index or encoder" in refusal(command(*line))
    assert "lies inside the index or encoder" in refusal(
        command("export", "--encoder", own_index / "encoder", "--output", own_index / "model")
    )
    assert contents(own_index) == before


@pytest.mark.parametrize("name", ["photo.jpg", "text.txt", "notes.html", "picture.png", "program"])
def test_what_tfvlad_did_not_write_stays(
    command: Command, own_index: Path, queries: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    there = tmp_path / name
    if name == "photo.jpg":
        shutil.copy(photos / "001.jpg", there)
    else:
        there.write_text("my notes")
    before = there.read_bytes()
    told = refusal(command("search", "--index", own_index, queries / "000.jpg", "--html", there))
    assert "is there already, and is nothing that tfvlad wrote; give another name, or delete it" in told
    if name.endswith((".html", ".png")):
        line = ["explain", "--index", own_index, queries / "000.jpg", photos / "000.jpg", "--output", there]
        assert "nothing that tfvlad wrote" in refusal(command(*line))
    assert there.read_bytes() == before


def test_what_tfvlad_wrote_is_replaced(
    command: Command, own_index: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    line = ["explain", "--index", own_index, queries / "000.jpg", photos / "000.jpg", "--output"]
    for name in ("why.html", "why.png"):
        for _ in range(2):
            done(command(*line, tmp_path / name))
    for _ in range(2):
        done(command("search", "--index", own_index, queries / "000.jpg", "--html", tmp_path / "why.html"))


def test_an_input_is_not_replaced(
    command: Command, own_index: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    drawn = tmp_path / "why.png"
    done(command("explain", "--index", own_index, queries / "000.jpg", photos / "000.jpg", "--output", drawn))
    line = ["explain", "--index", own_index, drawn, photos / "000.jpg", "--output"]
    assert "is one of the images" in refusal(command(*line, drawn))
    link = tmp_path / "link.png"
    link.symlink_to(drawn)
    assert "is one of the images" in refusal(command(*line, link))


def test_a_link_counts_as_what_it_leads_to(command: Command, own_index: Path, queries: Path, tmp_path: Path) -> None:
    link = tmp_path / "page.html"
    link.symlink_to(own_index / "catalog.sqlite")
    before = contents(own_index)
    assert "lies inside the index" in refusal(
        command("search", "--index", own_index, queries / "000.jpg", "--html", link)
    )
    os.unlink(link)
    link.symlink_to(tmp_path / "nowhere.html")
    assert "nothing that tfvlad wrote" in refusal(
        command("search", "--index", own_index, queries / "000.jpg", "--html", link)
    )
    assert contents(own_index) == before
