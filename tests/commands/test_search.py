from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_results import REASONS, Command, assert_listed, document, done, refusal
from PIL import Image

import tfvlad


def test_files_that_are_gone_are_said_to_be(
    command: Command, encoder: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    path, own = tmp_path / "it's.index", tmp_path / "photos"
    shutil.copytree(photos, own)
    with tfvlad.Index.create(path, tfvlad.Encoder.load(encoder), local_features=0) as made:
        made.sync(own)
    (own / "003.jpg").unlink()
    search = ("search", "--index", path, queries / "003.jpg")
    found = command(*search)
    assert [line.split()[-2] for line in found.out.splitlines() if line.endswith("(gone)")] == [str(own / "003.jpg")]
    assert "1 file that was found is gone" in found.err
    assert shlex.quote(str(path)) in found.err
    told = json.loads(command(*search, "--format", "json").out)
    assert [hit["path"] for hit in told[0]["hits"] if hit.get("gone")] == [str(own / "003.jpg")]


def test_each_query_finds_its_photograph_first(command: Command, index: Path, queries: Path, photos: Path) -> None:
    names = ["005.jpg", "002.jpg"]
    found = document(command("search", "--index", index, "--format=json", *(queries / name for name in names)))
    assert [set(one) for one in found] == [{"query", "hits"}] * 2
    assert [one["query"] for one in found] == [str(queries / name) for name in names]
    for one, name in zip(found, names, strict=True):
        assert one["hits"][0]["path"] == str(photos / name)
        # All eight, fewer than the ten that --k asks for by default, the most alike first.
        assert sorted(hit["path"] for hit in one["hits"]) == sorted(map(str, photos.iterdir()))
        scores = [hit["score"] for hit in one["hits"]]
        assert scores == sorted(scores, reverse=True)
        assert all(isinstance(score, float) and -1 <= score <= 1 for score in scores)
        assert all(set(hit) == {"path", "score"} for hit in one["hits"])


def test_an_indexed_photograph_is_like_itself(command: Command, index: Path, photos: Path) -> None:
    (one,) = document(command("search", "--index", index, "--k=1", "--format=json", photos / "004.jpg"))
    assert [hit["path"] for hit in one["hits"]] == [str(photos / "004.jpg")]
    assert one["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_the_table(command: Command, index: Path, queries: Path, photos: Path) -> None:
    out = done(command("search", "--index", index, "--k=2", queries / "000.jpg", queries / "001.jpg"))
    first, second = out.removesuffix("\n").split("\n\n")
    for block, name in ((first, "000.jpg"), (second, "001.jpg")):
        query, head, *rows = block.splitlines()
        assert query == str(queries / name)
        assert head.split() == ["rank", "score", "path"]
        assert [row.split()[0] for row in rows] == ["1", "2"]
        assert rows[0].split()[2] == str(photos / name)
        assert re.fullmatch(r"0\.\d{4}", rows[0].split()[1])


def test_a_folder_stands_for_its_images(command: Command, index: Path, queries: Path, photos: Path) -> None:
    found = document(command("search", queries, photos / "003.jpg", "--index", index, "--k=1", "--format=json"))
    assert [one["query"] for one in found] == [*map(str, sorted(queries.iterdir())), str(photos / "003.jpg")]
    assert [Path(one["hits"][0]["path"]).name for one in found[:-1]] == [
        path.name for path in sorted(queries.iterdir())
    ]


def test_fewer_hits_than_asked_for_where_the_index_holds_fewer(command: Command, index: Path, queries: Path) -> None:
    for k, hits in ((3, 3), (8, 8), (1_000_000, 8)):
        found = document(command("search", "--index", index, f"--k={k}", queries / "000.jpg", "--format=json"))
        assert len(found[0]["hits"]) == hits


def test_exact_search_gives_the_same_on_few_images(command: Command, index: Path, queries: Path) -> None:
    line = ["search", "--index", index, "--k=5", "--format=json", queries]
    assert document(command(*line, "--exact")) == document(command(*line))


def test_queries_that_cannot_be_used_are_listed_and_the_rest_is_searched_for(
    command: Command, index: Path, broken: Path
) -> None:
    line = ["search", "--index", index, "--k=1", broken]
    searched = command(*line, "--format=json")
    assert [Path(one["query"]).name for one in document(searched, status=1)] == [f"00{n}.jpg" for n in range(5)]
    assert_listed(searched, *(broken / name for name in REASONS))
    assert_listed(command(*line), *(broken / name for name in REASONS))


def test_no_usable_query_is_a_refusal(command: Command, index: Path, broken: Path) -> None:
    said = refusal(command("search", "--index", index, *(broken / name for name in REASONS), "--format=json"))
    reason = "a damaged or truncated JPEG (and 2 more that cannot be used)"
    assert said == f"tfvlad search: {broken}/cut.jpg: {reason}"


def test_a_query_without_a_direction_is_listed(
    command: Command, index: Path, queries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_stream = tfvlad.Encoder.encode_stream

    def spoilt(self: tfvlad.Encoder, sources: Iterable[Any]) -> Iterator[Any]:
        given = list(sources)
        for source, row in zip(given, encode_stream(self, given), strict=True):
            yield row * np.float32([1, 0, np.nan][int(Path(source).stem)])

    monkeypatch.setattr(tfvlad.Encoder, "encode_stream", spoilt)
    given = [queries / f"00{number}.jpg" for number in range(3)]
    searched = command("search", "--index", index, "--format=json", *given)
    assert [one["query"] for one in document(searched, status=1)] == [str(given[0])]
    assert searched.err.splitlines()[1:] == [
        f"  {path}: its descriptor is all zeros or not finite" for path in given[1:]
    ]


def test_results_are_drawn_as_a_page(command: Command, index: Path, queries: Path, tmp_path: Path) -> None:
    page = tmp_path / "not" / "there" / "yet" / "hits.html"
    line = ["search", "--index", index, "--k=3", queries / "006.jpg", queries / "007.jpg", "--html", page]
    searched = command(*line, "--format=json")
    assert (len(document(searched)), searched.err) == (2, "")
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 2 + 2 * 3
    assert "006.jpg" in html
    done(command("search", "--index", index, "--k=1", queries / "000.jpg", "--html", page))
    replaced = page.read_text(encoding="utf-8")
    assert "006.jpg" not in replaced
    assert [path.name for path in page.parent.iterdir()] == ["hits.html"]


def test_a_page_that_cannot_be_written_is_refused_before_the_search(
    command: Command, index: Path, queries: Path, tmp_path: Path, no_encoding: None
) -> None:
    (tmp_path / "file").touch()
    line = ["search", "--index", index, queries / "000.jpg", "--html"]
    assert refusal(command(*line, tmp_path)) == f"tfvlad search: {tmp_path} is a folder; give the path of a file"
    said = refusal(command(*line, tmp_path / "file" / "hits.html"))
    assert said == f"tfvlad search: {tmp_path}/file/hits.html cannot be written: {tmp_path}/file is not a folder"


def test_a_folder_without_write_permission_is_refused_before_the_search(
    command: Command, index: Path, queries: Path, tmp_path: Path, no_encoding: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*, dir: str) -> None:
        raise PermissionError(13, "Permission denied", f"{dir}/tmpx8")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)  # file modes do not stop the superuser, who may run the tests
    said = refusal(command("search", "--index", index, queries / "000.jpg", f"--html={tmp_path}/hits.html"))
    assert said == f"tfvlad search: {tmp_path}/hits.html cannot be written: Permission denied"


def test_verified_hits_have_a_verdict(command: Command, verifying_index: Path, queries: Path, photos: Path) -> None:
    line = ["search", "--index", verifying_index, queries / "005.jpg", "--query_views=whole"]
    (one,) = document(command(*line, "--format=json"))
    assert set(one) == {"query", "answered", "hits"}
    assert len(one["hits"]) == 8
    for hit in one["hits"]:
        assert set(hit) == {"path", "score", "inliers", "verdict", "probability", "view", "box"}
        assert hit["verdict"] in ("same", "likely", "unsure", "different")
        assert 0 <= hit["probability"] <= 1
        assert hit["view"] == "whole"
    best = max(one["hits"], key=lambda hit: hit["inliers"])
    assert best == one["hits"][0]
    assert best["path"] == str(photos / "005.jpg")
    x, y, width, height = best["box"]
    assert (x, y) == pytest.approx((0, 0), abs=10)
    assert (width, height) == pytest.approx((96, 72), abs=12)
    assert one["answered"] == any(hit["verdict"] in ("same", "likely") for hit in one["hits"])


def test_the_table_has_verdicts_and_says_what_is_not_there(
    command: Command, verifying_index: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (96, 72), (10, 60, 90)).save(tmp_path / "plain.png")
    line = ["search", "--index", verifying_index, "--k=2", tmp_path / "plain.png", queries / "000.jpg"]
    line += ["--query_views=whole"]
    unknown, known = done(command(*line)).removesuffix("\n").split("\n\n")
    query, no_answer, head, *rows = unknown.splitlines()
    assert query == str(tmp_path / "plain.png")
    assert no_answer == "probably not in the index: no more than 0 local features agree with any of these"
    assert head.split() == ["rank", "score", "inliers", "verdict", "path"]
    assert [row.split()[2:4] for row in rows] == [["0", "different"]] * 2
    assert known.splitlines()[-2].split()[-1] == str(photos / "000.jpg")


def test_descriptors_only_where_that_is_asked_for(
    command: Command, index: Path, verifying_index: Path, queries: Path
) -> None:
    line = ["search", queries / "001.jpg", "--format=json", "--query_views=whole"]
    found = document(command(*line, "--index", verifying_index, "--verify=0"))
    assert found == document(command(*line, "--index", index))
    (one,) = found
    assert all(set(hit) == {"path", "score"} for hit in one["hits"])


def test_only_the_first_are_verified_where_there_are_more(
    command: Command, verifying_index: Path, queries: Path
) -> None:
    line = ["search", queries / "001.jpg", "--index", verifying_index, "--verify=3"]
    (one,) = document(command(*line, "--format=json"))
    assert ["verdict" in hit for hit in one["hits"]] == [True] * 3 + [False] * 5
    assert done(command(*line)).splitlines()[-1].split()[2:4] == ["-", "-"]


def test_an_index_without_local_features_has_them_extracted(command: Command, index: Path, queries: Path) -> None:
    (one,) = document(command("search", queries / "001.jpg", "--index", index, "--verify=2", "--format=json"))
    assert ["verdict" in hit for hit in one["hits"]] == [True] * 2 + [False] * 6


def test_views_boxes_and_expansion_are_passed_on(
    command: Command, verifying_index: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    with Image.open(photos / "003.jpg") as photograph:
        wide = Image.new("RGB", (200, 200))
        wide.paste(photograph.transpose(Image.Transpose.ROTATE_90), (50, 80))
        wide.save(tmp_path / "turned.png")
    line = ["search", tmp_path / "turned.png", "--index", verifying_index, "--format=json", "--k=1", "--expand=2"]
    (one,) = document(command(*line, "--box=50,80,72,96", "--query_views=rotations:4"))
    assert one["hits"][0]["path"] == str(photos / "003.jpg")
    assert one["hits"][0]["score"] > 0.95


def test_neighbours_are_passed_on(command: Command, verifying_index: Path, queries: Path) -> None:
    paths = sorted(queries.iterdir())
    line = ["search", *paths, "--index", verifying_index, "--format=json", "--verify=0", "--query_views=whole"]
    with tfvlad.Index.open(verifying_index) as opened:
        found = opened.search(paths, verify=0, query_views="whole", reciprocal=3)
    given = document(command(*line, "--reciprocal=3"))
    assert [[hit["path"] for hit in one["hits"]] for one in given] == [[hit.path for hit in hits] for hits in found]
    assert given != document(command(*line))


@pytest.mark.parametrize(("box", "pixels"), [("500,0,10,10", "500,0 to 510,10"), ("90,60,40,40", "90,60 to 130,100")])
def test_a_box_outside_of_the_picture_is_refused(
    command: Command, index: Path, queries: Path, box: str, pixels: str
) -> None:
    path = queries / "000.jpg"
    said = refusal(command("search", "--index", index, path, f"--box={box}"))
    assert said == f"tfvlad search: {path}: the box {pixels} is not inside its 96 x 72 pixels"


@pytest.mark.parametrize("name", ["search", "evaluate", "explain"])
def test_opencv_is_asked_for_by_the_name_of_the_extra(
    command: Command,
    index: Path,
    queries: Path,
    tmp_path: Path,
    name: str,
    no_encoding: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    rest = {
        "search": [queries / "000.jpg"],
        "evaluate": ["--queries", queries],
        "explain": [queries / "000.jpg", "1", "--output", tmp_path / "why.html"],
    }[name]
    said = refusal(command(name, "--index", index, "--verifier=sift", *rest))
    assert said == f"tfvlad {name}: the SIFT verifier needs OpenCV: pip install 'tfvlad[sift]'"


def test_verified_results_are_explained_on_the_page(
    command: Command, verifying_index: Path, queries: Path, tmp_path: Path
) -> None:
    page = tmp_path / "hits.html"
    line = ["search", "--index", verifying_index, "--k=5", queries / "006.jpg", "--query_views=whole"]
    done(command(*line, "--html", page))
    html = page.read_text(encoding="utf-8")
    assert 1 <= html.count("<details") <= 3
    assert html.count(' class="agreed') == 5
