"""What is missing from a benchmark's folder, or is not as published, is told in one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from helpers.empty_benchmarks import HOLIDAYS, REVISITED, Trap, make_empty_files, make_revisited, write_texts

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import PUBLISHED, load_dataset


def test_a_pickle_that_does_something_is_refused_and_does_nothing(tmp_path: Path) -> None:
    content = pickle.dumps(REVISITED | {"gnd": [Trap(tmp_path / "sprung")]})
    with pytest.raises(ConfigError, match=r"gnd_roxford5k.pkl cannot be read: it holds more than plain data \(pathlib"):
        load_dataset("roxford5k", make_revisited(tmp_path, content))
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
        load_dataset("roxford5k", make_revisited(tmp_path, pickle.dumps(REVISITED | change)))


def test_ukbench_names_what_is_missing(tmp_path: Path) -> None:
    make_empty_files(tmp_path, "ukbench00000.jpg", "ukbench00001.jpg", "ukbench00003.jpg")
    with pytest.raises(ConfigError, match=r"lacks ukbench00002 \(.jpg\); place there .*archive.org"):
        load_dataset("ukbench", tmp_path)


def test_smvs_names_what_is_missing(covers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no folder Reference; place there .*stanford"):
        load_dataset("smvs", tmp_path)
    make_empty_files(covers, "Palm/007.jpg")
    with pytest.raises(ConfigError, match=r"Reference lacks what Palm/007.jpg shows"):
        load_dataset("smvs", covers)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_belongs_into_a_folder_and_where_it_is_published_is_said(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / "absent", make_empty_files(tmp_path / "empty", "notes.txt")):
        with pytest.raises(ConfigError, match=r"place there .*https?://") as caught:
            load_dataset(name, folder)
        assert "\n" not in str(caught.value)


def test_missing_ground_truth_is_named(oxford: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no gnd_roxford5k.pkl; place there .*revisitop"):
        load_dataset("roxford5k", oxford)
    (oxford / "gt_files_170407" / "hertford_1_ok.txt").unlink()
    with pytest.raises(ConfigError, match=r"there is no .*hertford_1_ok.txt"):
        load_dataset("oxford5k", oxford)
    make_empty_files(tmp_path / "images", "all_souls_000013.jpg")
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
    write_texts(oxford / "gt_files_170407", all_souls_1_query=line)
    with pytest.raises(ConfigError, match=r"all_souls_1_query.txt must hold the line 'oxc1_IMAGE X1 Y1 X2 Y2'"):
        load_dataset("oxford5k", oxford)


def test_two_versions_in_one_folder_are_refused(tmp_path: Path) -> None:
    make_empty_files(tmp_path, *(f"{folder}/{name}" for folder in ("jpg", "upright") for name in HOLIDAYS))
    with pytest.raises(ConfigError, match=r"must hold each image once, got jpg/100000.jpg and upright/100000.jpg"):
        load_dataset("holidays", tmp_path)


def test_a_part_of_a_published_set_is_told_as_one(oxford: Path, tmp_path: Path) -> None:
    assert load_dataset("oxford5k", oxford).lacking == (
        f"{oxford} holds 2 of the 55 queries and 5 of the 5,062 images of Oxford5k; "
        "figures on a part do not compare with published ones"
    )
    stems = [f"{group:04}{image:02}" for group in range(500) for image in range(3 if group < 491 else 2)]
    whole = load_dataset("holidays", make_empty_files(tmp_path / "whole", *(f"{stem}.jpg" for stem in stems)))
    assert (len(whole.queries), len(whole.database), whole.lacking) == (500, 1_491, "")


def test_images_of_other_names_are_none_of_the_set(oxford: Path) -> None:
    """Neither Paris' images nor a picture of results, in whatever number, and of whatever versions."""
    make_empty_files(oxford, "results.png", "copy/results.png", "paris_1-v1/paris_defense_000004.jpg")
    assert len(load_dataset("oxford5k", oxford).database) == 5
    write_texts(oxford / "gt_files_170407", all_souls_1_junk="paris_defense_000004\n")
    with pytest.raises(ConfigError, match=r"lacks paris_defense_000004 \(.jpg\)"):
        load_dataset("oxford5k", oxford)


def test_a_text_that_is_none_is_refused(oxford: Path) -> None:
    (oxford / "gt_files_170407" / "all_souls_1_good.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"all_souls_1_good.txt cannot be read as text"):
        load_dataset("oxford5k", oxford)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (["100001.jpg", "100100.jpg", "100101.jpg"], r"dat must list a query, 100000.jpg, and an answer to it"),
        (["100000.jpg", "100100.jpg", "100101.jpg"], r"dat must list a query, 100000.jpg, and an answer to it"),
        (["100000.jpg 0 100001.jpg"], "one name like 100000.jpg a line, got '100000.jpg 0 100001.jpg'"),
        ([], "one name like 100000.jpg a line, got ''"),
    ],
)
def test_a_list_of_holidays_that_makes_no_sense_is_refused(tmp_path: Path, listed: list[str], message: str) -> None:
    make_empty_files(tmp_path, *HOLIDAYS)
    (tmp_path / "holidays_images.dat").write_text("\r\n".join(listed))
    with pytest.raises(ConfigError, match=message):
        load_dataset("holidays", tmp_path)


def test_small_copies_beside_the_full_images_are_pointed_at(tmp_path: Path) -> None:
    names = [f"ukbench{number:05}.jpg" for number in range(4)]
    make_empty_files(tmp_path, *(f"{folder}/{name}" for folder in ("full", "thumbnails") for name in names))
    with pytest.raises(ConfigError, match=r"got full/ukbench00000.jpg and thumbnails/ukbench00000.jpg; give each"):
        load_dataset("ukbench", tmp_path)
    assert len(load_dataset("ukbench", tmp_path / "full").queries) == 4


def test_two_references_of_one_number_are_refused(covers: Path) -> None:
    make_empty_files(covers, "Reference/001.png")
    with pytest.raises(ConfigError, match="must hold one image of each number, got 3 images"):
        load_dataset("smvs", covers)


def test_lists_that_contradict_each_other_are_refused(oxford: Path) -> None:
    write_texts(oxford / "gt_files_170407", hertford_1_junk="hertford_000015\n")
    with pytest.raises(ConfigError, match=r"beside .*hertford_1_query.txt have hertford_000015 as right and as junk"):
        load_dataset("oxford5k", oxford)
    write_texts(oxford / "gt_files_170407", hertford_1_junk="", hertford_1_good="")
    with pytest.raises(ConfigError, match=r"beside .*hertford_1_query.txt have no right answer"):
        load_dataset("oxford5k", oxford)
