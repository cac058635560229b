from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfvlad.errors import ConfigError
from tfvlad.index._synced_folders import Root, find_root, place


def test_a_root_is_found_by_any_path_that_leads_to_it(tmp_path: Path) -> None:
    photos, index = tmp_path / "photos", str(tmp_path / "i.index")
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    roots = [Root(1, *place(str(photos), index))]
    assert find_root(str(photos), roots, index) == roots[0]
    assert find_root(str(tmp_path / "link"), roots, index) == roots[0]
    assert find_root(str(tmp_path / "photos" / ".." / "photos"), roots, index) == roots[0]


def test_a_place_is_absolute_and_relative_to_the_index(tmp_path: Path) -> None:
    assert place(str(tmp_path / "photos"), str(tmp_path / "i.index")) == (
        str(tmp_path / "photos"),
        os.path.join("..", "photos"),
    )


def test_neighbours_do_not_overlap_but_nested_folders_do(tmp_path: Path) -> None:
    for name in ("a", "a/b", "ab"):
        (tmp_path / name).mkdir()
    index = str(tmp_path / "i.index")
    roots = [Root(1, *place(str(tmp_path / "a"), index))]
    assert find_root(str(tmp_path / "ab"), roots, index) is None
    with pytest.raises(ConfigError, match="overlaps"):
        find_root(str(tmp_path / "a" / "b"), roots, index)
    with pytest.raises(ConfigError, match="overlaps"):
        find_root(str(tmp_path), roots, index)


def test_the_relative_place_is_used_only_when_the_absolute_one_is_gone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    index = str(tmp_path / "i.index")
    gone = Root(1, str(tmp_path / "elsewhere" / "photos"), os.path.join("..", "photos"))
    assert gone.locate(index) == str(tmp_path / "photos")
    (tmp_path / "elsewhere" / "photos").mkdir(parents=True)
    assert gone.locate(index) == str(tmp_path / "elsewhere" / "photos")
    assert Root(1, "/nowhere/a", "../nothing").locate(index) == "/nowhere/a"
