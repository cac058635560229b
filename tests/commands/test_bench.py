from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.command_results import REASONS, Command, document, done


def test_stages_and_the_whole_are_told(command: Command, encoder: Path, photos: Path) -> None:
    told = done(command("bench", "--encoder", encoder, "--images", photos)).splitlines()
    head, *stages, whole, verdict, advice, verification = told
    assert head.split("  ")[0] == "stage by itself"
    assert [row.split()[0] for row in stages] == ["decoding", "network", "VLAD", "whitening"]
    assert sum(float(row.split()[-1].rstrip("%")) for row in stages) == pytest.approx(100, abs=2)
    assert whole.startswith("all at once")
    assert verdict.startswith("8 images on ")
    assert re.fullmatch(r"(The cores are well used|So few images .*)\. \d+% of the work is .*", advice)
    assert re.fullmatch(
        r"verification: \d+\.\d ms for a query of \d+ local features and 50 candidates of \d+", verification
    )


def test_json_has_the_same_figures(command: Command, encoder: Path, photos: Path) -> None:
    found = document(command("bench", "--encoder", encoder, "--images", photos, "--limit=4", "--format=json"))
    assert found["images"] == 4
    assert found["images_per_second"] == pytest.approx(4 / found["seconds"])
    assert {"name", "seconds", "cpu_seconds"} == set(found["stages"][0])
    assert set(found["verification"]) == {"candidates", "cells", "query_cells", "milliseconds"}
    assert found["verification"]["candidates"] == 50
    assert 0 < found["verification"]["cells"] <= found["verification"]["query_cells"]
    assert found["verification"]["milliseconds"] > 0


def test_broken_images_are_listed_and_left_out(command: Command, encoder: Path, broken: Path) -> None:
    result = command("bench", "--encoder", encoder, "--images", broken)
    assert result.status == 1
    assert all(f"{broken / name}: {reason}" in result.err for name, reason in REASONS.items())
    assert "5 images on " in result.out


def test_json_lists_them_too(command: Command, encoder: Path, broken: Path) -> None:
    result = command("bench", "--encoder", encoder, "--images", broken, "--format=json")
    assert result.status == 1
    failed = {failure["path"]: failure["reason"] for failure in json.loads(result.out)["failed"]}
    assert failed == {str(broken / name): reason for name, reason in REASONS.items()}
