from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.command_results import REASONS, Command, assert_listed, document, done, refusal
from PIL import Image, ImageEnhance

import tfvlad
from tfvlad.evaluation import evaluate_index, load_queries_and_database


@pytest.fixture(scope="module")
def ranking(index: Path, queries: Path) -> list[str]:
    """The names of all indexed photographs, in the order in which query ``000.jpg`` finds them."""
    with tfvlad.Index.open(index) as opened:
        return [Path(hit.path).name for hit in opened.search(queries / "000.jpg", k=8)[0]]


def truth(folder: Path, **entries: object) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps({f"{number}.jpg": entry for number, entry in entries.items()}))
    return path


def test_each_query_finds_its_namesake(command: Command, index: Path, queries: Path) -> None:
    measured = document(command("evaluate", "--index", index, "--queries", queries, "--format=json"))
    ones = {"1": 1, "5": 1, "10": 1}
    expected = {"queries": 8, "map": 1, "mrr": 1, "recall_at": ones, "mean_precision_at": ones}
    assert measured | expected == measured


def test_figures_from_a_file_of_right_answers(
    command: Command, index: Path, queries: Path, ranking: list[str], tmp_path: Path
) -> None:
    # One query, whose only right answer is the third found, or the second once the first found is junk.
    # Reciprocal rank 1/2; average precision (0/1 + 1/2) / 2 = 1/4, the trapezoid of the one step in recall;
    # precision is 0 at 1 and, cut at the last right answer, 1/2 beyond.
    rule = truth(tmp_path, **{"000": {"ok": [ranking[2]], "junk": [ranking[0]]}})
    line = ["evaluate", "--index", index, "--queries", queries, "--ground_truth", rule]
    measured = document(command(*line, "--format=json"))
    expected = {
        "queries": 1,
        "map": 0.25,
        "mrr": 0.5,
        "recall_at": {"1": 0, "5": 1, "10": 1},
        "mean_precision_at": {"1": 0, "5": 0.5, "10": 0.5},
        "measure": "mAP",
        "score": 0.25,
    }
    assert measured | expected == measured
    assert measured["protocols"]["all"]["exact"] == expected
    assert [query["ap"] for query in measured["per_query"]] == [{"all": 0.25}]
    rows = [row.split() for row in done(command(*line, "--exact")).splitlines()]
    assert rows == [
        ["metric", "value"],
        ["queries", "1"],
        ["mAP", "0.2500"],
        ["MRR", "0.5000"],
        ["recall@1", "0.0000"],
        ["recall@5", "1.0000"],
        ["recall@10", "1.0000"],
        ["mP@1", "0.0000"],
        ["mP@5", "0.5000"],
        ["mP@10", "0.5000"],
    ]


def test_queries_without_an_answer_are_left_out(
    command: Command, index: Path, queries: Path, ranking: list[str], tmp_path: Path
) -> None:
    rule = truth(tmp_path, **{"000": {"ok": [ranking[0]]}, "001": {"ok": []}})
    measured = document(
        command("evaluate", f"--index={index}", f"--queries={queries}", f"--ground_truth={rule}", "--format=json")
    )
    assert (measured["queries"], measured["map"], measured["mrr"]) == (1, 1, 1)


def test_a_folder_against_itself_leaves_each_image_out(
    command: Command, encoder: Path, photos: Path, queries: Path, tmp_path: Path
) -> None:
    """Two sub-folders of two: of one photograph and its crop, which find each other before anything else."""
    for number in (1, 2):
        folder = tmp_path / "pairs" / f"pair{number}"
        folder.mkdir(parents=True)
        shutil.copy(photos / f"00{number}.jpg", folder / "whole.jpg")
        shutil.copy(queries / f"00{number}.jpg", folder / "crop.jpg")
    pairs, index = tmp_path / "pairs", tmp_path / "index"
    assert command("index", "--images", pairs, "--encoder", encoder, "--index", index).status == 0
    line = ["evaluate", "--index", index, "--ground_truth=same_folder", "--format=json"]
    measured = document(command(*line, "--dataset", pairs))
    assert (measured["queries"], measured["map"]) == (4, 1)
    assert document(command(*line, "--queries", pairs)) == measured


def test_queries_that_cannot_be_used_are_listed_and_left_out(command: Command, index: Path, broken: Path) -> None:
    line = ["evaluate", "--index", index, "--queries", broken]
    measured = command(*line, "--format=json")
    assert document(measured, status=1)["queries"] == 5
    assert_listed(measured, *(broken / name for name in REASONS))
    assert_listed(command(*line), *(broken / name for name in REASONS))


def test_no_usable_query_is_a_refusal(command: Command, index: Path, broken: Path) -> None:
    line = ["evaluate", "--index", index, "--queries", broken, "--format=json"]
    for photograph in broken.glob("0*.jpg"):
        photograph.write_text("no picture")
    assert f"{broken}/000.jpg: not an image in a known format (and 7 more that cannot" in refusal(command(*line))


def test_means_of_nothing_are_a_refusal(command: Command, index: Path, photos: Path, tmp_path: Path) -> None:
    """The one query that has a match cannot be read, so the means over the others would be NaN."""
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "000.jpg").write_text("no picture")
    shutil.copy(photos / "001.jpg", tmp_path / "queries" / "stranger.jpg")
    said = refusal(command("evaluate", "--index", index, "--queries", tmp_path / "queries", "--format=json"))
    assert said == (
        f"tfvlad evaluate: no query of {tmp_path}/queries that has a match can be used; the first is "
        f"{tmp_path}/queries/000.jpg: not an image in a known format"
    )


def test_a_right_answer_behind_the_hits_that_are_shown_is_on_the_page(
    command: Command, photos: Path, encoder: Path, queries: Path, ranking: list[str], tmp_path: Path
) -> None:
    """Copies of a wrong answer, brighter or darker, push the first right one from the second place to the tenth."""
    folder, index, html = tmp_path / "photos", tmp_path / "index", tmp_path / "page.html"
    shutil.copytree(photos, folder)
    with Image.open(photos / ranking[0]) as photograph:
        for number in range(8):
            ImageEnhance.Brightness(photograph).enhance(0.96 + number / 100).save(folder / f"copy{number}.jpg")
    done(command("index", "--images", folder, "--encoder", encoder, "--index", index))
    rule = truth(tmp_path, **{"000": {"ok": [ranking[1], ranking[2]]}})
    line = ["evaluate", "--index", index, "--queries", queries, "--ground_truth", rule, "--html", html]
    done(command(*line, "--verify=0"))
    page = html.read_text(encoding="utf-8")
    assert page.count("the first of 2 right answers at rank 10") == 1
    assert page.count('<li class="hit right missed">') == 1
    assert page.count('<span class="rank">10</span>') == 1
    assert page.count('<svg class="own-curve"') == 1


def test_the_page(command: Command, index: Path, queries: Path, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    done(command("evaluate", "--index", index, "--queries", queries, "--html", html))
    page = html.read_text(encoding="utf-8")
    assert "Worst queries" in page
    assert "Best queries" in page
    assert page.count("<polyline") == 2  # exact and graph by rank; one right answer has no curve of precision
    assert page.count("AP 1.000") == page.count("its right answer at rank 1") == 8
    assert page.count("✓ right") == 8
    assert '<li class="hit right missed">' not in page
    assert "folder" in refusal(command("evaluate", "--index", index, "--queries", queries, "--html", tmp_path))


def test_the_verified_ranking_stands_beside_the_exact_one(
    command: Command, verifying_index: Path, queries: Path, tmp_path: Path
) -> None:
    line = ["evaluate", "--index", verifying_index, "--queries", queries, "--query_views=whole"]
    measured = document(command(*line, "--format=json"))
    judged = measured["protocols"]["all"]
    assert set(judged) == {"exact", "graph", "loss", "verified"}
    assert judged["verified"]["recall_at"]["1"] == 1
    assert all(set(query["verified_ap"]) == {"all"} for query in measured["per_query"])
    verdicts = measured["verdicts"]
    assert list(verdicts) == ["same", "likely", "unsure", "different"]
    assert sum(count["right"] for count in verdicts.values()) == 8
    assert sum(count["wrong"] for count in verdicts.values()) == 8 * 7
    head, *rows = (row.split() for row in done(command(*line, "--html", tmp_path / "page.html")).splitlines())
    assert head == ["metric", "exact", "and", "graph", "verified"]
    assert rows[1] == ["mAP", "1.0000", "1.0000"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Verified hits by verdict: " in page
    assert page.count("<polyline") == 3  # exact, graph and verified


def test_a_search_by_descriptors_only_is_judged_once(command: Command, verifying_index: Path, queries: Path) -> None:
    line = ["evaluate", "--index", verifying_index, "--queries", queries, "--verify=0", "--format=json"]
    measured = document(command(*line))
    assert set(measured["protocols"]["all"]) == {"exact", "graph", "loss"}
    assert "verdicts" not in measured
    viewed = document(command(*line, "--query_views=rotations:2", "--exact"))
    assert set(viewed["protocols"]["all"]) == {"exact", "verified"}
    assert "verdicts" not in viewed
    by_neighbours = document(command(*line, "--reciprocal=3", "--exact"))
    assert set(by_neighbours["protocols"]["all"]) == {"exact", "verified"}


def test_what_verification_puts_first_comes_first(index: Path, queries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verified ranking is the hits of the search, and after them all other images in exact order."""
    with tfvlad.Index.open(index) as opened:
        dataset, _ = load_queries_and_database(opened, queries=str(queries))
        plain = evaluate_index(opened, dataset)

        def search(sources: list[str], k: int, **finding: object) -> list[list[tfvlad.Hit]]:
            assert (k, finding) == (100, {"verify": 7})
            every = opened.search_descriptors(opened.encoder.encode(sources), 8)
            return [[hits[3], hits[0]] for hits in every]

        monkeypatch.setattr(opened, "search", search)
        judged = evaluate_index(opened, dataset, finding={"verify": 7})
    assert judged.verified is not None
    assert judged.verified_rankings is not None
    for ranking, exact in zip(judged.verified_rankings, plain.exact_rankings, strict=True):
        assert ranking.tolist() == exact[[3, 0, 1, 2, 4, 5, 6, 7]].tolist()
    assert judged.metrics.recall_at[1] == 1
    assert judged.verified["all"].evaluation.mrr == 0.5
    assert [result.hits[1].right for result in judged.results] == [True] * 8
