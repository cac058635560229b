"""Each public benchmark from a tiny copy in its published directory and file format."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfvlad.datasets import PUBLISHED, DatabaseImage, Dataset, Query, as_indexed, load_dataset, split_name
from tfvlad.errors import ConfigError
from tfvlad.metrics import holidays_ap, ns_score


def place(folder: Path, *names: str) -> Path:
    """Empty files: no loader reads an image."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)


def named(dataset: Dataset, ids: list[int]) -> list[str]:
    return [Path(image.name).stem for image in dataset.database if image.id in ids]


@pytest.fixture
def oxford(tmp_path: Path) -> Path:
    """What ``oxbuild_images-v1.tgz`` and ``gt_files_170407.tgz`` unpack to, with two queries."""
    folder = tmp_path / "oxford"
    stems = ["all_souls_000013", "all_souls_000026", "all_souls_000091", "hertford_000015", "oxford_000317"]
    place(folder / "oxbuild_images-v1", *(f"{stem}.jpg" for stem in stems))
    write(
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
    place(tmp_path / "paris", *(f"{name}.jpg" for name in names))
    write(
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


# Query 0 shows database images 0 (easy) and 2 (hard), and a little of 1 (junk); query 1 shows 1, hard, and no other.
REVISITED: dict[str, Any] = {
    "imlist": ["all_souls_000001", "all_souls_000002", "all_souls_000003"],
    "qimlist": ["all_souls_000013", "hertford_000015"],
    "gnd": [
        {"bbx": [136.5, 34.1, 648.5, 955.7], "easy": [0], "hard": [2], "junk": [1]},
        {"bbx": [0, 0, 10, 20.5], "easy": [], "hard": [1], "junk": []},
    ],
}


def revisited(tmp_path: Path, content: bytes, name: str = "gnd_roxford5k.pkl") -> Path:
    stems = REVISITED["imlist"] + REVISITED["qimlist"]
    place(tmp_path / "roxford5k" / "jpg", *(f"{stem}.jpg" for stem in stems))
    (tmp_path / "roxford5k" / name).write_bytes(content)
    return tmp_path / "roxford5k"


def as_arrays(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"gnd": [{key: np.array(value) for key, value in entry.items()} for entry in content["gnd"]]}


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("of", [dict, as_arrays])
def test_revisited_oxford_from_a_pickle(tmp_path: Path, protocol: int, of: Any) -> None:
    content = pickle.dumps(of(REVISITED), protocol)
    check_revisited(load_dataset("roxford5k", revisited(tmp_path, content)))


def test_revisited_oxford_from_json(tmp_path: Path) -> None:
    folder = revisited(tmp_path, json.dumps(REVISITED).encode(), "gnd_roxford5k.json")
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
    dataset = load_dataset("roxford5k", revisited(tmp_path, pickle.dumps(REVISITED)))
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


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_does_something_is_refused_and_does_nothing(tmp_path: Path) -> None:
    content = pickle.dumps(REVISITED | {"gnd": [Trap(tmp_path / "sprung")]})
    with pytest.raises(ConfigError, match=r"gnd_roxford5k.pkl cannot be read: it holds more than plain data \(pathlib"):
        load_dataset("roxford5k", revisited(tmp_path, content))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"gnd": REVISITED["gnd"][:1]},
        {"gnd": [REVISITED["gnd"][0], {"bbx": [0, 0, 10, 20], "easy": [3], "hard": [], "junk": []}]},
        {"gnd": [REVISITED["gnd"][0], {"bbx": [0, 0, 10], "easy": [], "hard": [], "junk": []}]},
        {"gnd": [REVISITED["gnd"][0], {"bbx": [0, 0, 10, 20], "easy": [1], "hard": [1], "junk": []}]},
        {"imlist": 5},
        {"imlist": [1, 2, 3]},
        {"gnd": [REVISITED["gnd"][0], {"bbx": [0, 0, 10, 20], "easy": [1.5], "hard": [], "junk": []}]},
        {"gnd": [REVISITED["gnd"][0], {"bbx": [0, 0, 10, 20], "easy": [[1]], "hard": [], "junk": []}]},
    ],
)
def test_other_content_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must hold imlist, qimlist and, for each query, gnd with bbx"):
        load_dataset("roxford5k", revisited(tmp_path, pickle.dumps(REVISITED | change)))


# Two groups of INRIA Holidays, of three photographs and of two.
HOLIDAYS = ["100000.jpg", "100001.jpg", "100002.jpg", "100100.jpg", "100101.jpg"]


@pytest.mark.parametrize("places", ["jpg/", "", "upright/"])
def test_holidays(tmp_path: Path, places: str) -> None:
    place(tmp_path, *(places + name for name in HOLIDAYS))
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
    place(tmp_path, *(f"jpg/{name}" for name in [*HOLIDAYS, "100102.jpg"]))
    (tmp_path / "eval_holidays").mkdir()
    (tmp_path / "eval_holidays" / "holidays_images.dat").write_text("\n".join(HOLIDAYS) + "\n")
    assert [image.name for image in load_dataset("holidays", tmp_path).database] == [f"jpg/{n}" for n in HOLIDAYS]
    (tmp_path / "jpg" / "100001.jpg").unlink()
    with pytest.raises(ConfigError, match=r"lacks 100001 \(.jpg\); place there what the archives jpg1.*inrialpes"):
        load_dataset("holidays", tmp_path)


def test_ukbench(tmp_path: Path) -> None:
    place(tmp_path / "full", *(f"ukbench{number:05}.jpg" for number in range(8)))
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


def test_ukbench_names_what_is_missing(tmp_path: Path) -> None:
    place(tmp_path, "ukbench00000.jpg", "ukbench00001.jpg", "ukbench00003.jpg")
    with pytest.raises(ConfigError, match=r"lacks ukbench00002 \(.jpg\); place there .*archive.org"):
        load_dataset("ukbench", tmp_path)


@pytest.fixture
def covers(tmp_path: Path) -> Path:
    names = [f"{device}/{number}.jpg" for device in ("Canon", "E63", "Reference") for number in ("001", "002")]
    return place(tmp_path / "dvd_covers", *names)


def test_smvs_asks_with_every_device_or_with_one(covers: Path) -> None:
    dataset = load_dataset("smvs", covers)
    asked = [str(covers / device / f"00{n}.jpg") for device in ("Canon", "E63") for n in (1, 2)]
    assert [query.path for query in dataset.queries] == asked
    assert [image.name for image in dataset.database] == ["Reference/001.jpg", "Reference/002.jpg"]
    assert dataset.ground_truth == [{"ok": [0], "junk": []}, {"ok": [1], "junk": []}] * 2
    one = load_dataset("smvs", covers / "E63")
    assert ([query.path for query in one.queries], one.database) == (asked[2:], dataset.database)


def test_smvs_names_what_is_missing(covers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no folder Reference; place there .*stanford"):
        load_dataset("smvs", tmp_path)
    place(covers, "Palm/007.jpg")
    with pytest.raises(ConfigError, match=r"Reference lacks what Palm/007.jpg shows"):
        load_dataset("smvs", covers)


def test_real_covers(data_dir: Path) -> None:
    dataset = load_dataset("smvs", data_dir / "smvs_dvd" / "E63")
    assert dataset.ground_truth == [{"ok": [number], "junk": []} for number in range(100)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_belongs_into_a_folder_and_where_it_is_published_is_said(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / "absent", place(tmp_path / "empty", "notes.txt")):
        with pytest.raises(ConfigError, match=r"place there .*https?://") as caught:
            load_dataset(name, folder)
        assert "\n" not in str(caught.value)


def test_missing_ground_truth_is_named(oxford: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no gnd_roxford5k.pkl; place there .*revisitop"):
        load_dataset("roxford5k", oxford)
    (oxford / "gt_files_170407" / "hertford_1_ok.txt").unlink()
    with pytest.raises(ConfigError, match=r"there is no .*hertford_1_ok.txt"):
        load_dataset("oxford5k", oxford)
    place(tmp_path / "images", "all_souls_000013.jpg")
    with pytest.raises(ConfigError, match=r"holds no \*_query.txt; place there what gt_files_170407.tgz"):
        load_dataset("oxford5k", tmp_path / "images")


def test_missing_images_are_named(oxford: Path) -> None:
    (oxford / "oxbuild_images-v1" / "oxford_000317.jpg").unlink()
    with pytest.raises(
        ConfigError, match=r"lacks oxford_000317 \(.jpg\); place there .*oxbuild_images-v1.tgz of https"
    ):
        load_dataset("oxford5k", oxford)


@pytest.mark.parametrize(
    "line", ["", "oxc1_all_souls_000013", "all_souls_000013 1 2 3 4", "oxc1_a 5 5 5 9", "oxc1_a 1 2 3 x"]
)
def test_a_malformed_query_is_refused(oxford: Path, line: str) -> None:
    write(oxford / "gt_files_170407", all_souls_1_query=line)
    with pytest.raises(ConfigError, match=r"all_souls_1_query.txt must hold the line 'oxc1_IMAGE X1 Y1 X2 Y2'"):
        load_dataset("oxford5k", oxford)


def test_two_versions_in_one_folder_are_refused(tmp_path: Path) -> None:
    place(tmp_path, *(f"{folder}/{name}" for folder in ("jpg", "upright") for name in HOLIDAYS))
    with pytest.raises(ConfigError, match=r"must hold each image once, got jpg/100000.jpg and upright/100000.jpg"):
        load_dataset("holidays", tmp_path)


def test_an_index_keeps_its_ids(oxford: Path, tmp_path: Path) -> None:
    """The index holds four of the five images, one beside them in the folder, and a distractor elsewhere."""
    place(oxford, "oxbuild_images-v1/stray.png")
    place(tmp_path / "flickr100k", "1.jpg")
    dataset = load_dataset("oxford5k", oxford)
    dataset = Dataset(**(vars(dataset) | {"database": [i for i in dataset.database if "stray" not in i.name]}))
    files = [*sorted((oxford / "oxbuild_images-v1").iterdir()), tmp_path / "flickr100k" / "1.jpg"]
    indexed = [
        DatabaseImage(path.name, str(path), 100 + n) for n, path in enumerate(files) if "000026" not in path.name
    ]
    renamed, missing = as_indexed(dataset, indexed)
    # 100 all_souls_000013, 101 is not there, 102 000091, 103 hertford_000015, 104 oxford_000317, 105 stray, 106 1.jpg.
    assert [Path(path).name for path in missing] == ["all_souls_000026.jpg"]
    first, second = renamed.ground_truth
    assert ([id_ for id_ in first["ok"] if id_ > 0], first["junk"]) == ([100, 104], [102, 105])
    assert len(first["ok"]) == 3  # what is not indexed counts as a right answer that is never found
    assert second == {"ok": [103], "junk": [105]}


def test_an_index_of_other_images_is_refused(oxford: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the index holds no image of Oxford5k, such as .*tfvlad index --images .*oxford`"
    ):
        as_indexed(load_dataset("oxford5k", oxford), [DatabaseImage("a.jpg", "/elsewhere/a.jpg", 1)])


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


def test_a_part_of_a_published_set_is_told_as_one(oxford: Path, tmp_path: Path) -> None:
    assert load_dataset("oxford5k", oxford).lacking == (
        f"{oxford} holds 2 of the 55 queries and 5 of the 5,062 images of Oxford5k; "
        "figures on a part do not compare with published ones"
    )
    stems = [f"{group:04}{image:02}" for group in range(500) for image in range(3 if group < 491 else 2)]
    whole = load_dataset("holidays", place(tmp_path / "whole", *(f"{stem}.jpg" for stem in stems)))
    assert (len(whole.queries), len(whole.database), whole.lacking) == (500, 1_491, "")


def test_images_of_other_names_are_none_of_the_set(oxford: Path) -> None:
    """Neither Paris' images nor a picture of results, in whatever number, and of whatever versions."""
    place(oxford, "results.png", "copy/results.png", "paris_1-v1/paris_defense_000004.jpg")
    assert len(load_dataset("oxford5k", oxford).database) == 5
    write(oxford / "gt_files_170407", all_souls_1_junk="paris_defense_000004\n")
    with pytest.raises(ConfigError, match=r"lacks paris_defense_000004 \(.jpg\)"):
        load_dataset("oxford5k", oxford)


def test_text_files_of_other_systems_are_read(oxford: Path) -> None:
    """With a byte order mark, carriage returns and blank lines."""
    expected = load_dataset("oxford5k", oxford)
    for path in (oxford / "gt_files_170407").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert load_dataset("oxford5k", oxford) == expected


def test_a_text_that_is_none_is_refused(oxford: Path) -> None:
    (oxford / "gt_files_170407" / "all_souls_1_good.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"all_souls_1_good.txt cannot be read as text"):
        load_dataset("oxford5k", oxford)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (["100001.jpg", "100100.jpg", "100101.jpg"], r"lacks the queries 100000 \(.jpg\)"),
        (["100000.jpg", "100100.jpg", "100101.jpg"], r"lacks every answer to 100000 \(.jpg\)"),
        (["100000.jpg 0 100001.jpg"], "one name like 100000.jpg a line, got '100000.jpg 0 100001.jpg'"),
        ([], "one name like 100000.jpg a line, got ''"),
    ],
)
def test_a_list_of_holidays_that_makes_no_sense_is_refused(tmp_path: Path, listed: list[str], message: str) -> None:
    place(tmp_path, *HOLIDAYS)
    (tmp_path / "holidays_images.dat").write_text("\r\n".join(listed))
    with pytest.raises(ConfigError, match=message):
        load_dataset("holidays", tmp_path)


def test_small_copies_beside_the_full_images_are_pointed_at(tmp_path: Path) -> None:
    names = [f"ukbench{number:05}.jpg" for number in range(4)]
    place(tmp_path, *(f"{folder}/{name}" for folder in ("full", "thumbnails") for name in names))
    with pytest.raises(ConfigError, match=r"got full/ukbench00000.jpg and thumbnails/ukbench00000.jpg; give each"):
        load_dataset("ukbench", tmp_path)
    assert len(load_dataset("ukbench", tmp_path / "full").queries) == 4


def test_two_references_of_one_number_are_refused(covers: Path) -> None:
    place(covers, "Reference/001.png")
    with pytest.raises(ConfigError, match="must hold one image of each number, got 3 images"):
        load_dataset("smvs", covers)


def test_lists_that_contradict_each_other_are_refused(oxford: Path) -> None:
    write(oxford / "gt_files_170407", hertford_1_junk="hertford_000015\n")
    with pytest.raises(ConfigError, match=r"beside .*hertford_1_query.txt have hertford_000015 as right and as junk"):
        load_dataset("oxford5k", oxford)
    write(oxford / "gt_files_170407", hertford_1_junk="", hertford_1_good="")
    with pytest.raises(ConfigError, match=r"beside .*hertford_1_query.txt have no right answer"):
        load_dataset("oxford5k", oxford)
