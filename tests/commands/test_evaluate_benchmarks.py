"""`tfvlad index` and `tfvlad evaluate --dataset` on tiny copies of the public benchmarks, from end to end."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny_benchmarks
from helpers.command_results import Command, Result, document, done, refusal
from helpers.empty_benchmarks import Trap


class Copy:
    """A benchmark's copy and its index."""

    def __init__(self, command: Command, encoder: Path, folder: Path) -> None:
        self.folder, self.index, self._command = folder, folder.with_suffix(".index"), command
        command("index", "--images", folder, "--encoder", encoder, "--index", self.index)

    def evaluate(self, name: str, *arguments: object, part: str = "") -> Result:
        dataset = f"{name}:{self.folder / part}"
        return self._command("evaluate", "--index", self.index, "--dataset", dataset, *arguments)


Make = Callable[[str], Copy]


@pytest.fixture
def copy(command: Command, encoder: Path, photos: Path, tmp_path: Path) -> Make:
    """Makes the copy of a name of `tiny_benchmarks`."""

    def make(name: str) -> Copy:
        folder: Path = getattr(tiny_benchmarks, name)(tmp_path / name, sorted(photos.iterdir()))
        return Copy(command, encoder, folder)

    return make


def figures(result: Result) -> Any:
    """The document of a command that only notes that the copy is a part of what is published."""
    assert len(result.err.splitlines()) <= 1
    return document(result)


def note(result: Result) -> str:
    (line,) = result.err.splitlines()
    assert result.status == 0
    return line


def test_oxford_is_searched_for_by_its_boxes(copy: Make) -> None:
    oxford = copy("oxford")
    by_box = figures(oxford.evaluate("oxford5k", "--format=json"))
    # The part that the box cuts out is the second photograph, which comes first.
    assert (by_box["dataset"], by_box["map"], by_box["recall_at"]["1"]) == ("Oxford5k", 1, 1)
    assert by_box["per_query"][0]["box"] == [47.6, 0, 96, 72.2]
    whole = figures(oxford.evaluate("oxford5k", "--format=json", "--noquery_boxes"))
    assert whole["recall_at"]["1"] == 0  # the whole photograph finds itself first
    assert whole["per_query"][0]["box"] is None


def test_revisited_oxford_under_its_three_protocols(copy: Make, tmp_path: Path) -> None:
    revisited = copy("revisited_oxford")
    measured = figures(revisited.evaluate("roxford5k", "--format=json"))
    protocols = measured["protocols"]
    assert list(protocols) == ["medium", "hard", "easy"]
    assert [protocols[name]["exact"]["queries"] for name in protocols] == [2, 1, 1]
    # The query's whole image, which is most like it, is in the index and no part of the database.
    assert [protocols[name]["exact"]["map"] for name in protocols] == [1, 1, 1]
    assert [protocols[name]["graph"]["map"] for name in protocols] == [1, 1, 1]
    assert measured["per_query"][1]["ap"] == {"medium": 1, "hard": None, "easy": 1}
    html = tmp_path / "page.html"
    rows = [line.split("  ")[0] for line in done(revisited.evaluate("roxford5k", "--html", html)).splitlines()]
    assert [row for row in rows if row.startswith("mAP")] == ["mAP (medium)", "mAP (hard)", "mAP (easy)"]
    page = html.read_text(encoding="utf-8")
    assert "2 queries, each a box in its image; rankings of 7 images." in page
    assert page.count("<polyline") == 3 * 3  # protocols, and the three rankings; queries have one right answer
    assert "by the protocol medium" in page


def test_paris_without_its_corrupted_images(copy: Make) -> None:
    paris = copy("paris")
    measured = figures(paris.evaluate("paris6k", "--format=json", "--exact"))
    assert (measured["queries"], measured["map"]) == (2, 1)
    assert "graph" not in measured["protocols"]["all"]
    said = note(paris.evaluate("paris6k"))
    assert said.startswith(f"Note: {paris.folder} holds 2 of the 55 queries and 6 of the 6,392 images of Paris6k; ")


def test_holidays_with_the_loss_of_the_graph(copy: Make, tmp_path: Path) -> None:
    holidays = copy("holidays")
    html = tmp_path / "page.html"
    result = holidays.evaluate("holidays", "--html", html)
    assert "3 of the 500 queries and 9 of the 1,491 images" in note(result)
    rows = [line.split() for line in result.out.splitlines()]
    assert rows[:3] == [
        ["metric", "exact", "and", "graph", "verified"],
        ["queries", "3"],
        ["mAP", "1.0000", "1.0000"],
    ]
    page = html.read_text(encoding="utf-8")
    assert page.count("AP 1.000") == 3
    assert page.count('<svg class="own-curve"') == 3
    assert page.count("✓ right") == 3 * 2


def test_ukbench_by_its_own_score(copy: Make, tmp_path: Path) -> None:
    ukbench = copy("ukbench")
    html = tmp_path / "page.html"
    measured = figures(ukbench.evaluate("ukbench", "--format=json", "--html", html))
    assert (measured["queries"], measured["measure"], measured["score"]) == (12, "N-S score", 4)
    assert measured["protocols"]["all"]["loss"]["N-S score"] == 0
    assert html.read_text(encoding="utf-8").count("N-S score 4.000") == 12
    assert ukbench.evaluate("ukbench").out.splitlines()[2].split()[2:] == ["4.0000", "4.0000"]


def test_smvs_by_all_devices_or_one(copy: Make) -> None:
    smvs = copy("smvs")
    both = figures(smvs.evaluate("smvs", "--format=json"))
    # The photographs themselves are indexed too: they are no part of the database, and taken out.
    assert (both["queries"], both["recall_at"]["1"]) == (8, 1)
    one = figures(smvs.evaluate("smvs", "--format=json", part="E63"))
    assert (one["queries"], one["dataset"]) == (4, "Stanford Mobile Visual Search, smvs/E63")


def test_images_that_are_not_indexed_are_listed(copy: Make) -> None:
    oxford = copy("oxford")
    late = oxford.folder / "oxbuild_images-v1" / "late_000000.jpg"
    shutil.copy(oxford.folder / "oxbuild_images-v1" / "all_souls_000003.jpg", late)
    measured = oxford.evaluate("oxford5k", "--format=json")
    assert document(measured, status=1)["map"] == 1
    assert f"  {late}: is not in the index, and so never found" in measured.err


def test_queries_that_cannot_be_used_are_listed(copy: Make) -> None:
    holidays = copy("holidays")
    (holidays.folder / "jpg" / "100000.jpg").write_text("no picture")
    measured = holidays.evaluate("holidays", "--format=json")
    assert document(measured, status=1)["queries"] == 2
    assert f"  {holidays.folder}/jpg/100000.jpg: not an image in a known format" in measured.err


def test_a_box_outside_its_image_is_told(copy: Make) -> None:
    oxford = copy("oxford")
    truth = oxford.folder / "gt_files_170407"
    (truth / "all_souls_1_query.txt").write_text("oxc1_all_souls_000000 136.5 34.1 648.5 955.7\n")
    said = refusal(oxford.evaluate("oxford5k"))
    assert said.endswith("all_souls_000000.jpg: the box 136,34 to 648,956 is not inside its 96 x 72 pixels")


def test_what_a_benchmark_lacks_is_a_refusal(copy: Make, command: Command, index: Path) -> None:
    folder = copy("oxford").folder
    line = ["evaluate", "--index", index]
    said = refusal(command(*line, "--dataset", f"oxford5k:{folder}"))
    assert "the index holds no image of Oxford5k, such as " in said
    said = refusal(command(*line, "--dataset", f"paris6k:{folder / 'none'}"))
    assert f"{folder}/none is not a folder; place there what paris_120310.tgz" in said
    said = refusal(command(*line, "--dataset", f"oxford:{folder}"))
    assert "is no folder, and no data set with its folder; there are oxford5k, paris6k, " in said
    said = refusal(command(*line, "--dataset", f"oxford5k:{folder}", "--queries", folder))
    assert said.endswith("oxford5k has queries of its own; leave --queries out")
    (folder / "oxbuild_images-v1" / "all_souls_000001.jpg").unlink()
    said = refusal(command(*line, "--dataset", f"oxford5k:{folder}"))
    assert f"{folder} lacks all_souls_000001 (.jpg); place there what gt_files_170407.tgz and oxbuild_images-v1" in said


def test_ground_truth_that_would_do_something_is_a_refusal(copy: Make, tmp_path: Path) -> None:
    revisited = copy("revisited_oxford")
    (revisited.folder / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    said = refusal(revisited.evaluate("roxford5k"))
    assert "gnd_roxford5k.pkl cannot be read: it holds more than plain data (pathlib" in said
    assert not (tmp_path / "sprung").exists()
    (revisited.folder / "gnd_roxford5k.pkl").write_text("<html>404</html>")
    assert "cannot be read: it is damaged, or no pickle" in refusal(revisited.evaluate("roxford5k"))
