"""The sweep's report: it says what the study says, whatever the study lacks, and needs nothing from outside."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.made_up_studies import NAN, cell, grid, impossible, search_cell, study
from PIL import Image

from tfvlad.reports.sweep import write_report
from tfvlad.sweep.grid import SearchSetting, Setting
from tfvlad.sweep.study import Study

VLAD = Setting(224, "conv4", "vlad", 100, 0)
SHORT = dataclasses.replace(VLAD, dim=128)
POOLED = Setting(224, "conv4", "mean", 0, 0)
EVIL = "<img src=x onerror=alert(1)>{{ 7 * 7 }}"


def made_up(setting: Setting) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    generator = np.random.default_rng(sum(map(ord, str(setting))))
    return 1.0 / generator.integers(1, 6, 12)


def report(tmp_path: Path, of: Study, flagfile: str = "--layer=conv4\n") -> str:
    write_report(of, tmp_path / "report.html", flagfile)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)).split())


def rows(page: str) -> list[list[str]]:
    """The table of all settings, cell by cell."""
    table = page[page.index('<div class="card all">') :]
    found = re.findall(r"<tr[ >].*?</tr>", table.split("<tbody>")[1], re.DOTALL)
    return [[text(each) for each in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in found]


def test_the_best_setting_comes_first_with_its_interval(tmp_path: Path) -> None:
    page = report(tmp_path, study([cell(VLAD, [1.0, 0.5, 1.0]), cell(POOLED, [0.5, 0.5, 0.5])], 3))
    said = text(page)
    assert "Best setting: VLAD, conv4, 224 px, K = 100, full." in said
    assert "mAP 0.833 95 % interval 0.500 to 1.000 recall@1 0.667 ms per image 11.0 bytes per image 8,192" in said
    assert "2 settings of vgg16: 3 queries in 2 images; codebooks and whitening fitted on 50 images." in said
    assert [row[:3] for row in rows(page)] == [["vlad", "conv4", "224"], ["mean", "conv4", "224"]]
    assert rows(page)[1][5:8] == ["0.500", "0.500 to 0.500", "0.000"]


def test_figures_for_each_encoding_with_a_line_for_each_size(tmp_path: Path) -> None:
    page = report(tmp_path, grid(made_up, encodings=("vlad", "mean", "fc"), dims=(0, 32, 128)))
    titles = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert [title.split(",")[0] for title in titles] == [
        "VLAD",
        "mean pooling",
        "Quality by dimension",
        "Quality by milliseconds per image",
        "Quality by bytes per image",
    ]
    first = page[page.index("<figcaption>VLAD") : page.index("<figcaption>mean")]
    assert first.count("<polyline") == 4  # two sizes, and the fully connected features at either
    assert first.count('class="interval') == 8
    assert re.search(r'<svg class="chart"[^>]* role="img" aria-label="VLAD, K = 100, [^"]*: mAP by layer"', first)
    assert page.count("<title>VLAD, a, 224 px") >= 2
    assert "<title></title>" not in page


def test_the_claims_are_stated_with_figures(tmp_path: Path) -> None:
    said = text(report(tmp_path, grid(lambda s: made_up(s) * (1 if s.encoding == "vlad" else 0.01))))
    assert re.search(
        r"VLAD against mean pooling of the same layer, averaged over 8 settings \+0\.\d{3} \+0.* ✓ holds", said
    )
    assert "Intermediate layers beat the last one" in said


def test_several_protocols_are_columns_and_the_first_chooses(tmp_path: Path) -> None:
    made = study([cell(VLAD, [1.0, 0.5], ["medium", "hard"])], 2, ["medium", "hard"])
    page = report(tmp_path, made)
    assert "chosen by the protocol “medium”" in text(page)
    assert "mAP, hard" in page
    assert len(rows(page)[0]) == 15


def test_a_proxy_is_called_one(tmp_path: Path) -> None:
    cells = [cell(VLAD, [1.0, 0.5])]
    assert "This is a proxy" in report(tmp_path, study(cells, 2, proxy=True))
    assert "proxy" not in report(tmp_path, study(cells, 2))


@pytest.mark.parametrize(
    "cells",
    [
        [impossible(VLAD)],
        [cell(VLAD, [NAN, NAN])],
        [cell(VLAD, [1.0, NAN]), cell(SHORT, [NAN, NAN]), impossible(POOLED)],
        [cell(VLAD, [0.0, 0.0]), cell(SHORT, [0.0, 0.0])],
        [cell(Setting(224, "", "fc", 0, 0), [0.5, 1.0])],
    ],
)
def test_whatever_is_lacking_there_is_a_page(tmp_path: Path, cells: list[object]) -> None:
    made = study(cells, 2)  # type: ignore[arg-type]
    page = report(tmp_path, made)
    assert len(rows(page)) == len(cells)
    assert "nan" not in page.replace("conv4", "").lower()


def test_impossible_settings_come_last_with_their_reasons_beneath(tmp_path: Path) -> None:
    some = [impossible(POOLED, "no pooling today"), impossible(dataclasses.replace(POOLED, dim=2), "no two of them")]
    page = report(tmp_path, study([*some, impossible(SHORT, "no pooling today"), cell(VLAD, [0.5, 0.4])], 2))
    assert [[row[0], row[4], row[5]] for row in rows(page)[1:]] == [
        ["mean", "full", "no score 1"],
        ["mean", "2", "no score 2"],
        ["vlad", "128", "no score 1"],
    ]
    beneath = page[page.index('<ol class="reasons">') :]
    assert re.findall("<li>(.*?)</li>", beneath) == ["no pooling today", "no two of them"]


def test_a_length_is_not_broken_at_its_hyphen(tmp_path: Path) -> None:
    said = text(report(tmp_path, study([cell(SHORT, [1.0, 0.5]), cell(VLAD, [0.5, 0.5])], 2)))
    assert "Best setting: VLAD, conv4, 224 px, K = 100, 128\N{NON-BREAKING HYPHEN}D." in said
    assert "128-D" not in said


def test_milliseconds_of_different_processors_are_said_to_be_such(tmp_path: Path) -> None:
    cells = [
        dataclasses.replace(cell(setting, [1.0, 0.5]), processor=name)
        for setting, name in ((VLAD, "one"), (SHORT, "two"))
    ]
    assert "measured on different processors, and only compare on one: one; two." in text(
        report(tmp_path, study(cells, 2))
    )
    assert "processor" not in text(report(tmp_path, study(cells[:1], 2)))


def test_examples_show_what_either_setting_finds(tmp_path: Path) -> None:
    right, broken = tmp_path / "right.png", tmp_path / "broken.jpg"
    Image.new("RGB", (40, 30), (200, 0, 0)).save(right)
    broken.write_bytes(b"no image")
    made = study([cell(VLAD, [1.0, 1.0, 0.25]), cell(SHORT, [0.5, 1.0, 0.5])], 3)
    made = dataclasses.replace(made, queries=[str(broken), "same", str(right)], database=[str(right), str(broken)])
    page = report(tmp_path, made)
    asked = re.findall(r"<small>Query \d</small> <bdi title=\"([^\"]*)\"", page)
    assert asked == [str(broken), str(right)]  # the better one's gain first; the query both find is not shown
    said = text(page)
    assert "first right answer at rank 1" in said
    assert "first right answer at rank 4" in said
    assert page.count('<li class="hit right">') == 4
    assert page.count("not an image in a known format</span>") == 5


def test_everything_is_escaped_and_nothing_comes_from_outside(tmp_path: Path) -> None:
    evil = Setting(224, EVIL, "vlad", 100, 0)
    made = study([cell(evil, [1.0, 0.1]), cell(SHORT, [0.5, 1.0])], 2, [EVIL])
    made = dataclasses.replace(made, name=EVIL, measure=EVIL, queries=[EVIL] * 2, database=[EVIL] * 2)
    page = report(tmp_path, made, flagfile=EVIL)
    assert "<img" not in page
    assert f"<pre>{html.escape(EVIL)}</pre>" in page
    assert not re.search(r"https?:|url\(|@import|<script", page)


def test_a_large_sweep_is_a_page_of_bounded_size(tmp_path: Path) -> None:
    layers = [f"mixed{n}" for n in range(19)]
    made = grid(made_up, layers=layers, encodings=("vlad", "mean"), dims=(0, 32, 64, 128))
    page = report(tmp_path, made)
    assert len(rows(page)) == len(made.cells) == 304
    assert len(page) < 600_000


def test_ways_to_search_have_their_own_part(tmp_path: Path) -> None:
    plain = SearchSetting("whole", "whole", 0, "", 0)
    verified = dataclasses.replace(plain, verify=50, verifier="cells")
    searches = [
        search_cell(SHORT, plain, [0.2, 0.3, 0.25], ms=5.0),
        search_cell(SHORT, verified, [1.0, 0.5, 1.0], ms=50.0, size=35_000.0),
        search_cell(SHORT, dataclasses.replace(verified, verifier="sift"), None),
    ]
    made = study([cell(SHORT, [0.2, 0.3, 0.25])], 3)
    assert 'id="searches"' not in report(tmp_path, made)
    page = report(tmp_path, dataclasses.replace(made, searches=searches))
    part = page[page.index('id="searches"') : page.index('id="flagfile"')]
    said = text(part)
    assert re.search(
        r"Verification lifts the ranking 50 images verified by cells against none \+0\.583 .* ✓ holds", said
    )
    assert part.count("<figcaption>Quality of searches by") == 2
    assert "query whole, 50 verified by cells 0.833 0.500 to 1.000 0.667 50.0 35,000" in said
    assert "query whole, 50 verified by sift not possible: no library for that" in said
    assert "nan" not in part.lower()
