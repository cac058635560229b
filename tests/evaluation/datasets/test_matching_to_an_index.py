"""Published data sets asked of an index."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.empty_benchmarks import make_empty_files

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, as_indexed, load_dataset


def test_an_index_keeps_its_ids(oxford: Path, tmp_path: Path) -> None:
    """The index holds four of the five images, one beside them in the folder, and a distractor elsewhere."""
    make_empty_files(oxford, "oxbuild_images-v1/stray.png")
    make_empty_files(tmp_path / "flickr100k", "1.jpg")
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


def test_links_to_one_file_are_one_answer(oxford: Path) -> None:
    dataset = load_dataset("oxford5k", oxford)
    indexed = [DatabaseImage(image.name, image.path, image.id) for image in dataset.database]
    right = dataset.ground_truth[0]["ok"][0]
    link = oxford / "oxbuild_images-v1" / "z.png"
    link.symlink_to(dataset.database[right].path)
    renamed, missing = as_indexed(dataset, [*indexed, DatabaseImage("z.png", str(link), 1000)])
    assert missing == []
    assert renamed.ground_truth[0]["ok"] == dataset.ground_truth[0]["ok"]
    assert all(1000 in truth["junk"] for truth in renamed.ground_truth)


def test_an_index_of_other_images_is_refused(oxford: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the index holds no image of Oxford5k, such as .*tfvlad index --images .*oxford`"
    ):
        as_indexed(load_dataset("oxford5k", oxford), [DatabaseImage("a.jpg", "/elsewhere/a.jpg", 1)])
