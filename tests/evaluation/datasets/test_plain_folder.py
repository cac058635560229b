from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, Query, plain_folder
from tfvlad.evaluation.metrics import evaluate
from tfvlad.images.listing import list_images


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def indexed(root: Path, first_id: int = 0) -> list[DatabaseImage]:
    return [DatabaseImage(name, str(root / name), id_) for id_, name in enumerate(list_images(root), first_id)]


def described(tmp_path: Path, entries: object) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    return make_files(tmp_path / "queries", "1.jpg", "2.png")


@pytest.fixture
def database(tmp_path: Path) -> list[DatabaseImage]:
    return indexed(make_files(tmp_path / "covers", "1.png", "3.jpg", "more/2.png"), first_id=10)  # ids 10, 11, 12


def test_same_name_compares_relative_paths_without_suffix(queries: Path, database: list[DatabaseImage]) -> None:
    dataset = plain_folder(queries, database, "same_name")
    assert dataset.queries == [Query(str(queries / "1.jpg")), Query(str(queries / "2.png"))]
    # more/2.png is not 2.png: sub-folders count.
    assert dataset.ground_truth == [{"ok": [10], "junk": []}, {"ok": [], "junk": []}]


def test_same_name_drops_only_the_suffix(tmp_path: Path) -> None:
    queries = make_files(tmp_path / "queries", "view.1.jpg")
    database = indexed(make_files(tmp_path / "covers", "view.1.png", "view.2.png", "view.jpg"))
    assert plain_folder(queries, database, "same_name").ground_truth == [{"ok": [0], "junk": []}]


def test_same_folder_compares_the_first_folder(tmp_path: Path) -> None:
    queries = make_files(tmp_path / "queries", "castle/deep/q.jpg", "mill/q.jpg")
    database = indexed(make_files(tmp_path / "base", "stray.jpg", "castle/a.jpg", "castle/x/b.jpg", "x/castle/c.jpg"))
    # In walking order: 0 stray.jpg, 1 castle/a.jpg, 2 castle/x/b.jpg, 3 x/castle/c.jpg.
    assert plain_folder(queries, database, "same_folder").ground_truth == [
        {"ok": [1, 2], "junk": []},
        {"ok": [], "junk": []},
    ]


def test_a_json_file_says_what_matches(tmp_path: Path, queries: Path, database: list[DatabaseImage]) -> None:
    rule = described(tmp_path, {"2.png": {"ok": ["more/2.png", "3.jpg"], "junk": ["1.png"]}})
    dataset = plain_folder(queries, database, rule)
    # 1.jpg is in the folder but not in the file, so it is no query.
    assert dataset.queries == [Query(str(queries / "2.png"))]
    assert dataset.ground_truth == [{"ok": [12, 11], "junk": [10]}]


def test_a_folder_against_itself_leaves_one_out(tmp_path: Path) -> None:
    root = make_files(tmp_path / "photos", "castle/a.jpg", "castle/b.jpg", "mill/c.jpg")
    dataset = plain_folder(root, indexed(root), "same_folder")
    assert dataset.ground_truth == [
        {"ok": [1], "junk": [0]},
        {"ok": [0], "junk": [1]},
        {"ok": [], "junk": [2]},
    ]
    # Each query finds itself first, which is ignored. The third has no other image of its folder and does not count.
    e = evaluate([[0, 1, 2], [1, 2, 0], [2, 0, 1]], dataset.ground_truth, kappas=(1,))
    # Query 0: positive at rank 1, AP 1. Query 1: at rank 2 of 2 0, AP (0/1 + 1/2) / 2 = 1/4.
    assert e.queries == 2
    assert e.map == pytest.approx((1 + 1 / 4) / 2)


def test_a_linked_query_is_its_target_and_so_junk(tmp_path: Path) -> None:
    base = make_files(tmp_path / "base", "castle/a.jpg", "castle/b.jpg")
    queries = tmp_path / "queries"
    (queries / "castle").mkdir(parents=True)
    (queries / "castle" / "q.jpg").symlink_to(base / "castle" / "b.jpg")
    assert plain_folder(queries, indexed(base), "same_folder").ground_truth == [{"ok": [0], "junk": [1]}]


def test_a_query_that_its_json_lists_as_ok_is_junk_all_the_same(tmp_path: Path) -> None:
    root = make_files(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    rule = described(tmp_path, {"a.jpg": {"ok": ["a.jpg", "b.jpg"], "junk": ["c.jpg"]}})
    assert plain_folder(root, indexed(root), rule).ground_truth == [{"ok": [1], "junk": [0, 2]}]


def test_several_indexed_folders_all_match_by_name(tmp_path: Path, queries: Path) -> None:
    first, second = make_files(tmp_path / "a", "1.jpg"), make_files(tmp_path / "b", "1.jpg")
    database = indexed(first) + indexed(second, first_id=5)
    assert plain_folder(queries, database, "same_name").ground_truth[0] == {"ok": [0, 5], "junk": []}


def test_real_covers_match_by_name(data_dir: Path) -> None:
    covers = indexed(data_dir / "smvs_dvd" / "Reference")
    dataset = plain_folder(data_dir / "smvs_dvd" / "Canon", covers, "same_name")
    assert [Path(query.path).name for query in dataset.queries] == [cover.name for cover in covers]
    assert dataset.ground_truth == [{"ok": [cover.id], "junk": []} for cover in covers]


def test_no_query_image_is_refused(tmp_path: Path, database: list[DatabaseImage]) -> None:
    empty = make_files(tmp_path / "empty", "notes.txt")
    with pytest.raises(ConfigError, match="empty has no image"):
        plain_folder(empty, database, "same_name")
    with pytest.raises(NotADirectoryError):
        plain_folder(tmp_path / "absent", database, "same_name")


def test_an_empty_index_is_refused(queries: Path) -> None:
    with pytest.raises(ConfigError, match="the index has no image"):
        plain_folder(queries, [], "same_name")


def test_no_match_names_an_example_and_what_it_would_match(tmp_path: Path, queries: Path) -> None:
    database = indexed(make_files(tmp_path / "base", "covers/1.jpg"))
    with pytest.raises(ConfigError, match=r"under same_name: 1.jpg would match 1\.\*, .* for example, covers/1.jpg"):
        plain_folder(queries, database, "same_name")
    with pytest.raises(ConfigError, match=r"besides itself under same_name"):
        plain_folder(queries, indexed(queries), "same_name")
    mills = make_files(tmp_path / "mills", "mill/1.jpg")
    with pytest.raises(ConfigError, match=r"under same_folder: mill/1.jpg would match mill/\*"):
        plain_folder(mills, database, "same_folder")
    rule = described(tmp_path, {"1.jpg": {"ok": []}})
    with pytest.raises(ConfigError, match=r'under .*truth.json: 1.jpg would match what its "ok" lists'):
        plain_folder(queries, database, rule)


def test_same_folder_refuses_queries_in_no_folder(tmp_path: Path, database: list[DatabaseImage]) -> None:
    queries = make_files(tmp_path / "q", "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "more/f.jpg")
    with pytest.raises(ConfigError, match=r"sub-folder of .*q, got a.jpg, b.jpg, c.jpg and 2 more"):
        plain_folder(queries, database, "same_folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "truth.json cannot be read as JSON"),
        pytest.param("[" * 100_000, "truth.json cannot be read as JSON", id="nested too deep"),
        ('{"1.jpg": {"ok": []}, "1.jpg": {"ok": []}}', "repeated in one object: 1.jpg"),
        ([], "must hold one object"),
        ({}, "must hold one object"),
        ({"1.jpg": ["1.png"]}, 'truth.json: 1.jpg must have a list of paths "ok"'),
        ({"1.jpg": {"junk": ["1.png"]}}, 'truth.json: 1.jpg must have a list of paths "ok"'),
        ({"1.jpg": {"ok": "1.png"}}, 'truth.json: 1.jpg must have a list of paths "ok"'),
        ({"1.jpg": {"ok": [1]}}, 'truth.json: 1.jpg must have a list of paths "ok"'),
        ({"1.jpg": {"ok": ["1.png"], "junks": []}}, "and nothing else"),
        ({"1.jpg": {"ok": ["1.png"], "junk": ["1.png"]}}, "1.jpg must list each path once, got 1.png"),
        ({"7.jpg": {"ok": ["1.png"]}}, "names queries that are no images of .*queries: 7.jpg"),
        ({"1.jpg": {"ok": ["a", "b", "c", "d"]}}, "not indexed: a, b, c and 1 more; the index has, .* 1.png"),
    ],
)
def test_a_bad_json_file_is_refused_in_one_line(
    tmp_path: Path, queries: Path, database: list[DatabaseImage], content: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        plain_folder(queries, database, described(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_json_name_in_two_indexed_folders_is_refused(tmp_path: Path, queries: Path) -> None:
    first, second = make_files(tmp_path / "a", "1.jpg"), make_files(tmp_path / "b", "1.jpg")
    rule = described(tmp_path, {"1.jpg": {"ok": ["1.jpg"]}})
    with pytest.raises(ConfigError, match=r"in several indexed folders: 1.jpg"):
        plain_folder(queries, indexed(first) + indexed(second, first_id=1), rule)


def test_a_missing_json_file_is_told_as_that(tmp_path: Path, queries: Path, database: list[DatabaseImage]) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*absent\.json"):
        plain_folder(queries, database, tmp_path / "absent.json")


def test_an_unknown_rule_is_refused(queries: Path, database: list[DatabaseImage]) -> None:
    with pytest.raises(ConfigError, match="same_name, same_folder or the path of a JSON file, got same_nmae"):
        plain_folder(queries, database, "same_nmae")
