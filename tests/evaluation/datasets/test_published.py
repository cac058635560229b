"""Each public benchmark from a tiny copy in its published directory and file format."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.empty_benchmarks import HOLIDAYS, REVISITED, make_empty_files, make_revisited, write_texts

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query, load_dataset, split_name
from tfvlad.evaluation.metrics import holidays_ap, ns_score


def named(dataset: Dataset, ids: list[int]) -> list[str]:
    return [Path(image.name).stem for image in dataset.database if image.id in ids]


def test_oxford5k(oxford: Path) -> None:
    dataset = load_dataset("oxford5k", oxford)
    assert [image.id for image in dataset.database] == list(range(5))
    images = oxford / "oxbuild_images-v1"
    assert dataset.queries == [
        Query(str(images / "all_souls_000013.jpg"), (136.5, 34.1, 648.5, 955.7)),
        Query(str(images / "hertford_000015.jpg"), (0, 0, 100, 50)),
    ]
    first, second = dataset.ground_truth
    # compute_ap.cpp takes good and ok as right, and leaves the query's own image in the ranking.
    assert named(dataset, first["ok"]) == ["all_souls_000013", "all_souls_000026", "oxford_000317"]
    assert named(dataset, first["junk"]) == ["all_souls_000091"]
    assert (named(dataset, second["ok"]), second["junk"]) == (["hertford_000015"], [])
    assert dataset.measure == "mAP"
    assert dataset.whole_images().queries[0] == Query(str(images / "all_souls_000013.jpg"))


def test_oxford5k_scores_as_compute_ap_does(oxford: Path) -> None:
    dataset = load_dataset("oxford5k", oxford)
    # Ids: 0 all_souls_000013, 1 000026, 2 000091, 3 hertford_000015, 4 oxford_000317. Query 0 without its junk 2 ranks
    # 0 3 1 4: right at 1, 3, 4 of 3: (1 + 1 + 1/2 + 2/3 + 2/3 + 3/4) / 6 = 55/72. Query 1 ranks its image second: 1/4.
    judged = dataset.judge([[2, 0, 3, 1, 4], [0, 3, 1, 2, 4]])["all"]
    np.testing.assert_allclose(judged.values, [55 / 72, 1 / 4])
    assert judged.score == judged.evaluation.map == pytest.approx((55 / 72 + 1 / 4) / 2)


def test_paris6k_leaves_the_corrupted_images_out(tmp_path: Path) -> None:
    """``paris_1-v1.tgz`` and ``paris_2-v1.tgz`` unpack to ``paris/LANDMARK/``."""
    names = ["defense/paris_defense_000605", "defense/paris_defense_000004", "louvre/paris_louvre_000136"]
    make_empty_files(tmp_path / "paris", *(f"{name}.jpg" for name in names))
    write_texts(
        tmp_path / "paris_120310",
        defense_1_query="paris_defense_000605 32.3 67.1 700.2 800\n",
        defense_1_good="paris_defense_000605\nparis_louvre_000136\n",
        defense_1_ok="paris_defense_000004\nparis_louvre_000146\n",
        defense_1_junk="",
    )
    dataset = load_dataset("paris6k", tmp_path)
    assert [image.name for image in dataset.database] == [
        "paris/defense/paris_defense_000004.jpg",
        "paris/defense/paris_defense_000605.jpg",
    ]
    assert dataset.ground_truth == [{"ok": [1, 0], "junk": []}]
    assert dataset.queries[0].box == (32.3, 67.1, 700.2, 800)


def as_arrays(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"gnd": [{key: np.array(value) for key, value in entry.items()} for entry in content["gnd"]]}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("of", [dict, as_arrays])
def test_revisited_oxford_from_a_pickle(tmp_path: Path, protocol: int, of: Any) -> None:
    content = pickle.dumps(of(REVISITED), protocol)
    check_revisited(load_dataset("roxford5k", make_revisited(tmp_path, content)))


def test_revisited_oxford_from_json(tmp_path: Path) -> None:
    folder = make_revisited(tmp_path, json.dumps(REVISITED).encode(), "gnd_roxford5k.json")
    check_revisited(load_dataset("roxford5k", folder))


def check_revisited(dataset: Dataset) -> None:
    assert [Path(image.name).stem for image in dataset.database] == REVISITED["imlist"]
    assert [query.box for query in dataset.queries] == [(136.5, 34.1, 648.5, 955.7), (0, 0, 10, 20.5)]
    assert list(dataset.protocols) == ["medium", "hard", "easy"]
    assert dataset.protocols == {
        "easy": [{"ok": [0], "junk": [1, 2]}, {"ok": [], "junk": [1]}],
        "medium": [{"ok": [0, 2], "junk": [1]}, {"ok": [1], "junk": []}],
        "hard": [{"ok": [2], "junk": [1, 0]}, {"ok": [1], "junk": []}],
    }


def test_revisited_protocols_by_hand(tmp_path: Path) -> None:
    dataset = load_dataset("roxford5k", make_revisited(tmp_path, pickle.dumps(REVISITED)))
    judged = dataset.judge([[1, 2, 0], [0, 1, 2]])
    # Query 0 without junk 1 ranks 2 0. Medium: right at 1 and 2, AP 1. Hard: 0 is ignored too, 2 first, AP 1. Easy: 2
    # is ignored, 0 first, AP 1. Query 1 ranks 0 1 2: right at 2, AP (0 + 1/2) / 2 = 1/4; it has no easy answer, and
    # does not count in that mean.
    assert {name: one.score for name, one in judged.items()} == {"medium": 5 / 8, "hard": 5 / 8, "easy": 1}
    assert np.isnan(judged["easy"].values[1])


def test_revisited_equals_the_official_code(data_dir: Path) -> None:
    """Official vectors through `Dataset.judge`: one protocol of a data set whose ids are places in the database."""
    for case in json.loads((data_dir / "oracles" / "revisited_map.json").read_text())["cases"]:
        database = [DatabaseImage(str(n), str(n), n) for n in range(len(case["ranks"][0]))]
        dataset = Dataset([Query(str(n)) for n in range(len(case["gnd"]))], {"all": case["gnd"]}, database)
        judged = dataset.judge(case["ranks"])["all"]
        assert judged.score == pytest.approx(case["map"], rel=0, abs=1e-12)
        np.testing.assert_allclose(judged.values, np.array(case["aps"], float), rtol=0, atol=1e-12)


@pytest.mark.parametrize("places", ["jpg/", "", "upright/"])
def test_holidays(tmp_path: Path, places: str) -> None:
    make_empty_files(tmp_path, *(places + name for name in HOLIDAYS))
    dataset = load_dataset("holidays", tmp_path)
    assert [Path(query.path).name for query in dataset.queries] == ["100000.jpg", "100100.jpg"]
    assert dataset.ground_truth == [{"ok": [1, 2], "junk": [0]}, {"ok": [4], "junk": [3]}]
    # Query 0 ranks itself second, which is ignored: 1 3 2 4, right at 1 and 3: (1 + 1 + 1/2 + 2/3) / 4 = 19/24.
    # Query 1 ranks itself first: 0 4 1 2, right at 2: (0 + 1/2) / 2 = 1/4.
    rankings = [[1, 0, 3, 2, 4], [3, 0, 4, 1, 2]]
    judged = dataset.judge(rankings)["all"]
    np.testing.assert_allclose(judged.values, [19 / 24, 1 / 4])
    assert judged.values.tolist() == [holidays_ap(rankings[0], 0, [0, 1, 2]), holidays_ap(rankings[1], 3, [3, 4])]


def test_holidays_are_what_the_official_list_names(tmp_path: Path) -> None:
    make_empty_files(tmp_path, *(f"jpg/{name}" for name in [*HOLIDAYS, "100102.jpg"]))
    (tmp_path / "eval_holidays").mkdir()
    (tmp_path / "eval_holidays" / "holidays_images.dat").write_text("\n".join(HOLIDAYS) + "\n")
    assert [image.name for image in load_dataset("holidays", tmp_path).database] == [f"jpg/{n}" for n in HOLIDAYS]
    (tmp_path / "jpg" / "100001.jpg").unlink()
    with pytest.raises(ConfigError, match=r"lacks 100001 \(.jpg\); place there what the archives jpg1.*inrialpes"):
        load_dataset("holidays", tmp_path)


def test_groups_of_holidays_that_ask_for_nothing_are_wrong_answers(tmp_path: Path) -> None:
    """Of group 1002 the query is missing, of group 1003 the answers."""
    make_empty_files(tmp_path, *HOLIDAYS, "100201.jpg", "100202.jpg", "100300.jpg")
    dataset = load_dataset("holidays", tmp_path)
    assert len(dataset.database) == 8
    assert dataset.ground_truth == [{"ok": [1, 2], "junk": [0]}, {"ok": [4], "junk": [3]}]
    assert "holds 2 of the 500 queries and 8 of the 1,491 images of Holidays" in dataset.lacking
    with pytest.raises(ConfigError, match="holds no query with an answer; place there what the archives"):
        load_dataset("holidays", make_empty_files(tmp_path / "alone", "100300.jpg", "100401.jpg"))


def test_ukbench(tmp_path: Path) -> None:
    make_empty_files(tmp_path / "full", *(f"ukbench{number:05}.jpg" for number in range(8)))
    dataset = load_dataset("ukbench", tmp_path)
    assert len(dataset.queries) == 8
    assert dataset.ground_truth == [{"ok": [0, 1, 2, 3], "junk": []}] * 4 + [{"ok": [4, 5, 6, 7], "junk": []}] * 4
    # Query 0 finds itself, 1 and 3 among its first four; query 1 all four; query 7 itself only; the others 2 each.
    half = [[first, first + 1, 8 - first - 3, 8 - first - 4] for first in (0, 0, 4, 4, 4)]
    rankings = [[0, 1, 4, 3, 2], [1, 0, 2, 3], half[0], half[1], half[2], half[3], half[4], [7, 0, 1, 2]]
    judged = dataset.judge(rankings)["all"]
    assert judged.measure == "N-S score"
    # Their sum is 3 + 4 + 2 * 5 + 1 = 18, the mean over 8 queries 2.25.
    np.testing.assert_allclose(judged.values, [3, 4, 2, 2, 2, 2, 2, 1])
    groups = [truth["ok"] for truth in dataset.ground_truth]
    assert judged.score == pytest.approx(18 / 8) == ns_score(rankings, groups)


def test_smvs_asks_with_every_device_or_with_one(covers: Path) -> None:
    dataset = load_dataset("smvs", covers)
    asked = [str(covers / device / f"00{n}.jpg") for device in ("Canon", "E63") for n in (1, 2)]
    assert [query.path for query in dataset.queries] == asked
    assert [image.name for image in dataset.database] == ["Reference/001.jpg", "Reference/002.jpg"]
    assert dataset.ground_truth == [{"ok": [0], "junk": []}, {"ok": [1], "junk": []}] * 2
    one = load_dataset("smvs", covers / "E63")
    assert ([query.path for query in one.queries], one.database) == (asked[2:], dataset.database)


def test_real_covers(data_dir: Path) -> None:
    dataset = load_dataset("smvs", data_dir / "smvs_dvd" / "E63")
    assert dataset.ground_truth == [{"ok": [number], "junk": []} for number in range(100)]


def test_a_name_and_its_folder() -> None:
    assert split_name("oxford5k:/data/a:b") == ("oxford5k", "/data/a:b")
    assert split_name("photos/a:b") == ("", "photos/a:b")
    assert split_name("oxford5k") == ("oxford5k", "")
    with pytest.raises(ConfigError, match="in which folder is oxford5k"):
        load_dataset("oxford5k", "")
    with pytest.raises(ConfigError, match="there is no data set 'oxford'; there are oxford5k, paris6k"):
        load_dataset("oxford", "/data")


def test_folders_may_be_links_even_in_circles(oxford: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "images").symlink_to(oxford / "oxbuild_images-v1")
    (linked / "truth").symlink_to(oxford / "gt_files_170407")
    (linked / "again").symlink_to(linked)
    assert load_dataset("oxford5k", linked).ground_truth == load_dataset("oxford5k", oxford).ground_truth


def test_text_files_of_other_systems_are_read(oxford: Path) -> None:
    """With a byte order mark, carriage returns and blank lines."""
    expected = load_dataset("oxford5k", oxford)
    for path in (oxford / "gt_files_170407").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert load_dataset("oxford5k", oxford) == expected
