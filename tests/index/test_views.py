"""Several views of each image: what synchronisation and search must do with them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import counts, write

from tfvlad.errors import ConfigError
from tfvlad.index import Index
from tfvlad.index._sync import SyncReport, synchronise
from tfvlad.index.catalog import Catalog


def run(catalog: Catalog, photos: Path, encoder: FakeEncoder, **options: Any) -> SyncReport:
    return synchronise(catalog, [str(photos)], lambda: encoder, **options)


def views_of(catalog: Catalog, path: Path) -> dict[str, np.ndarray]:
    with catalog.read() as snapshot:
        encoded = snapshot.views_of_content(hashlib.sha256(path.read_bytes()).digest())
    return {view: np.frombuffer(vector, np.float32) for view, vector in encoded}


def test_an_image_has_a_descriptor_for_each_view(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder, views="rotations:2")) == (1, 0, 0, 0, 0)
    found = views_of(catalog, photos / "a.jpg")
    assert list(found) == ["whole", "turn 180"]
    assert np.array_equal(found["whole"], encoder.describe(b"one"))
    assert np.array_equal(found["turn 180"], encoder.describe(b"oneturn 180"))


def test_a_copy_has_the_views_encoded_that_the_image_lacks(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    run(catalog, photos, FakeEncoder())
    whole = views_of(catalog, photos / "a.jpg")["whole"]
    write(photos, copy="one")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder, views="rotations:2")) == (1, 0, 0, 1, 0)
    assert encoder.views == [("turn 180",)]
    found = views_of(catalog, photos / "a.jpg")
    assert (list(found), found["whole"].tolist()) == (["whole", "turn 180"], whole.tolist())


def test_an_image_that_cannot_be_encoded_is_a_failure(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="bad", c="bad", d="nan")
    report = run(catalog, photos, FakeEncoder(), views="rotations:2")
    assert counts(report) == (1, 0, 0, 0, 3)
    assert [failure.reason for failure in report.failed] == [
        "is no picture",
        "is no picture",
        "its descriptor is not finite",
    ]
    assert views_of(catalog, photos / "b.jpg") == {}


def test_an_image_is_found_by_any_of_its_views(tmp_path: Path, photos: Path) -> None:
    write(photos, a="one", b="two")
    encoder = FakeEncoder()
    with Index.create(tmp_path / "index", encoder, views="rotations:4") as index:
        index.sync(photos)
        assert len(index) == 2
        for name, content in (("whole", b"one"), ("turn 90", b"oneturn 90"), ("turn 270", b"oneturn 270")):
            [[hit, other]] = index.search_descriptors([encoder.describe(content)])
            assert (hit.path, round(hit.score, 5), hit.view) == (str(photos / "a.jpg"), 1.0, name)
            assert other.path == str(photos / "b.jpg")


def test_the_graph_finds_as_much_of_several_views(tmp_path: Path, photos: Path) -> None:
    write(photos, **{f"f{i}": f"content {i}" for i in range(400)})
    with Index.create(tmp_path / "index", FakeEncoder(dim=16), views="rotations:4", local_features=0) as index:
        index.sync(photos)
        chosen = index.verify(target_recall=0.9)
        assert chosen.target_met
        queries = [FakeEncoder(dim=16).describe(f"query {i}".encode()) for i in range(30)]
        exact, found = (index.search_descriptors(queries, k=5, exact=exact) for exact in (True, False))
    shares = [len({hit.id for hit in a} & {hit.id for hit in b}) / 5 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shares) > 0.9


def test_adding_views_encodes_what_is_missing_and_nothing_else(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", copy="one")
    run(catalog, photos, FakeEncoder())
    encoder = FakeEncoder()
    report = run(catalog, photos, encoder, views="rotations:2")
    assert (counts(report), report.completed) == ((0, 0, 0, 2, 0), 2)
    assert (encoder.encoded, encoder.views) == ([b"one"], [("turn 180",)])
    report = run(catalog, photos, encoder)  # as it is stored
    assert (counts(report), report.completed, len(encoder.encoded)) == ((0, 0, 0, 2, 0), 0, 1)


def test_each_image_gets_what_it_lacks(catalog: Catalog, photos: Path) -> None:
    """Old files and new ones follow each other, and some of both are copies."""
    write(photos, **{f"f{i:02}": f"content {i // 3}" for i in range(0, 40, 2)})
    run(catalog, photos, FakeEncoder())
    write(photos, **{f"f{i:02}": f"content {i // 3}" if i % 3 else f"new {i}" for i in range(1, 40, 2)})
    encoder = FakeEncoder()
    report = run(catalog, photos, encoder, views="rotations:2", local_features=5)
    assert (report.added, report.unchanged, report.completed, report.failed) == (20, 20, 20, [])
    assert len(encoder.encoded) == len(set(encoder.encoded))
    for path in photos.iterdir():
        found = views_of(catalog, path)
        assert sorted(found) == ["turn 180", "whole"]
        assert np.array_equal(found["whole"], encoder.describe(path.read_bytes()))
        assert np.array_equal(found["turn 180"], encoder.describe(path.read_bytes() + b"turn 180"))
    with catalog.read() as snapshot:
        assert len(snapshot.images_with_local_features()) == len(snapshot.image_ids())


def test_views_that_are_left_out_are_removed(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    run(catalog, photos, FakeEncoder(), views="rotations:4")
    encoder = FakeEncoder()
    run(catalog, photos, encoder, views="rotations:2")
    assert list(views_of(catalog, photos / "a.jpg")) == ["whole", "turn 180"]
    run(catalog, photos, encoder, views="")
    assert list(views_of(catalog, photos / "a.jpg")) == ["whole"]
    assert encoder.encoded == []


def test_a_removed_file_takes_its_views_with_it(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", copy="one")
    run(catalog, photos, FakeEncoder(), views="rotations:2", local_features=9)
    (photos / "a.jpg").rename(photos / "moved.jpg")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder)) == (0, 0, 0, 1, 0)
    (photos / "copy.jpg").unlink()
    (photos / "moved.jpg").unlink()
    assert counts(run(catalog, photos, encoder, allow_empty=True)) == (0, 0, 2, 0, 0)
    assert encoder.encoded == []
    with catalog.read() as snapshot:
        assert snapshot.count_descriptors() == 0
        assert snapshot.images_with_local_features().size == 0


@pytest.mark.parametrize("options", [{"views": "turns:2"}, {"local_features": -1}, {"local_features": 1 << 20}])
def test_what_cannot_be_kept_is_refused_before_anything_is_done(
    catalog: Catalog, photos: Path, options: dict[str, Any]
) -> None:
    write(photos, a="one")
    encoder = FakeEncoder()
    with pytest.raises(ConfigError, match=r"views must be|local_features must be 0 to 16384 cells"):
        run(catalog, photos, encoder, **options)
    assert encoder.encoded == []
