from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError, ConfigError, MismatchError
from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, Stamp, to_blob
from tfvlad.index.graph_backends import installed_backend
from tfvlad.index.index import Hit, Index


@pytest.fixture(autouse=True)
def encoder_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `Index` imports when it loads its own copy of the encoder."""
    monkeypatch.setitem(sys.modules, "tfvlad.encoding.encoder", SimpleNamespace(Encoder=FakeEncoder))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "disk" / "photos"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.jpg").write_text(f"content {name}")
    return folder


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "disk" / "i.index", FakeEncoder()) as made:
        yield made


def test_the_folder(index: Index, photos: Path, tmp_path: Path) -> None:
    index.sync(photos)
    index.close()
    assert sorted(os.listdir(tmp_path / "disk" / "i.index")) == [
        "catalog.sqlite",
        "encoder",
        installed_backend().file_name,
        "writer.lock",
    ]
    assert sorted(os.listdir(tmp_path / "disk")) == ["i.index", "photos"]


def test_create_refuses_what_is_there_and_takes_an_empty_folder(index: Index, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        Index.create(tmp_path / "disk" / "i.index", FakeEncoder())
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="exists already"):
        Index.create(tmp_path / "file", FakeEncoder())
    (tmp_path / "empty").mkdir()
    with Index.create(tmp_path / "empty", FakeEncoder(), IndexConfig(m=5)) as made:
        assert len(made) == 0


def test_a_failed_create_leaves_nothing(tmp_path: Path) -> None:
    class Unwritable(FakeEncoder):
        def save(self, path: str) -> None:
            raise ArtifactError(path, "cannot be written")

    with pytest.raises(ArtifactError):
        Index.create(tmp_path / "i.index", Unwritable())
    assert os.listdir(tmp_path) == []


def test_open_refuses_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not an index"):
        Index.open(tmp_path)
    with pytest.raises(ArtifactError, match="is not an index"):
        Index.open(tmp_path / "nowhere")


def test_sync_then_search(index: Index, photos: Path) -> None:
    report = index.sync(str(photos))
    assert (report.added, report.updated, report.removed, report.unchanged, report.failed) == (3, 0, 0, 0, [])
    assert len(index) == 3
    [hits] = index.search(photos / "b.jpg", k=2)
    assert hits[0] == Hit(str(photos / "b.jpg"), pytest.approx(1), 2)
    assert len(hits) == 2
    assert [query[0].path for query in index.search([b"content c", photos / "a.jpg"], k=1)] == [
        str(photos / "c.jpg"),
        str(photos / "a.jpg"),
    ]
    assert list(index.images()) == [
        (1, "a.jpg", str(photos / "a.jpg")),
        (2, "b.jpg", str(photos / "b.jpg")),
        (3, "c.jpg", str(photos / "c.jpg")),
    ]


def test_removed_images_are_not_found(index: Index, photos: Path) -> None:
    index.sync([photos])
    (photos / "b.jpg").unlink()
    assert index.sync([photos]).removed == 1
    [hits] = index.search(b"content b", k=10)
    assert sorted(hit.id for hit in hits) == [1, 3]


def test_an_index_is_opened_again_with_its_own_encoder(index: Index, photos: Path) -> None:
    index.sync(photos)
    with Index.open(index._path) as again:
        assert again.search(b"content a")[0][0].path == str(photos / "a.jpg")
        assert again.sync(photos).unchanged == 3


def test_another_encoder_is_refused(index: Index, photos: Path, tmp_path: Path) -> None:
    other = FakeEncoder(fingerprint="0" * 64)
    with pytest.raises(MismatchError, match="was made with the encoder ffffffffffff, not 000000000000"):
        index.sync(photos, encoder=other)
    with pytest.raises(MismatchError):
        Index.open(index._path, encoder=other)
    shutil.rmtree(tmp_path / "disk" / "i.index" / "encoder")
    other.save(str(tmp_path / "disk" / "i.index" / "encoder"))
    with Index.open(index._path) as swapped, pytest.raises(MismatchError):
        swapped.search(b"content a")


def test_a_disk_with_index_and_photographs_can_be_mounted_elsewhere(index: Index, photos: Path, tmp_path: Path) -> None:
    index.sync(photos)
    index.close()
    (tmp_path / "disk").rename(tmp_path / "moved")
    with Index.open(tmp_path / "moved" / "i.index") as moved:
        assert moved.search(b"content a", k=1)[0][0].path == str(tmp_path / "moved" / "photos" / "a.jpg")
        (tmp_path / "moved" / "photos" / "d.jpg").write_text("content d")
        report = moved.sync(tmp_path / "moved" / "photos")
        assert (report.added, report.unchanged) == (1, 3)
        assert [path for _, _, path in moved.images()][-1] == str(tmp_path / "moved" / "photos" / "d.jpg")


def test_an_index_can_be_moved_alone(index: Index, photos: Path, tmp_path: Path) -> None:
    index.sync(photos)
    index.close()
    (tmp_path / "disk" / "i.index").rename(tmp_path / "elsewhere")
    with Index.open(tmp_path / "elsewhere") as moved:
        assert moved.search(b"content a", k=1)[0][0].path == str(photos / "a.jpg")
        assert moved.sync(photos).unchanged == 3


def test_a_newer_index_is_refused(index: Index) -> None:
    catalog = Catalog(str(index._path))
    with catalog._transaction("BEGIN IMMEDIATE") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    catalog.close()
    with pytest.raises(ArtifactError, match="is of format 99, newer than"):
        Index.open(index._path)


def test_an_empty_index_has_no_hits(index: Index) -> None:
    assert index.search([b"x", b"y"]) == [[], []]
    assert index.search_descriptors(np.empty((0, 8))) == []
    assert list(index.images()) == []
    assert index.verify().queries == 0


def test_queries_are_brought_to_unit_length_or_refused(index: Index, photos: Path) -> None:
    index.sync(photos)
    vector = FakeEncoder().describe(b"content a")
    assert index.search_descriptors([vector * 7])[0][0].score == pytest.approx(1)
    with pytest.raises(ConfigError, match="row 0"):
        index.search_descriptors(np.full((1, 8), np.nan))
    with pytest.raises(ConfigError, match=r"shape \(n, 8\)"):
        index.search_descriptors(vector)


def test_an_image_scores_by_the_best_of_its_views(index: Index) -> None:
    catalog = Catalog(str(index._path))
    axes = np.eye(8)
    with catalog.write() as change:
        root = change.put_root(Root(-1, "/nowhere", "../nowhere"))
        views = [("whole", to_blob(axes[0])), ("turned", to_blob(axes[1]))]
        change.put_file(root, "two.jpg", Stamp(1, 1), b"2", views)
        change.put_file(root, "one.jpg", Stamp(1, 1), b"1", [("whole", to_blob((axes[0] + axes[1]) / 2**0.5))])
    catalog.close()
    # The query is a view of image 1; image 2 lies half-way, at cos 45 degrees.
    [hits] = index.search_descriptors([axes[1]], k=10)
    assert [(hit.path, round(hit.score, 4)) for hit in hits] == [
        ("/nowhere/two.jpg", 1.0),
        ("/nowhere/one.jpg", 0.7071),
    ]
    assert len(index) == 2


def test_hits_of_names_that_are_not_utf8(index: Index, photos: Path) -> None:
    name = os.fsencode(photos) + b"/caf\xe9.jpg"
    with open(name, "wb") as file:
        file.write(b"coffee")
    index.sync(photos)
    assert os.fsencode(index.search(b"coffee")[0][0].path) == name


def test_an_interrupted_sync_goes_on_where_it_stopped(index: Index, photos: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        index.sync(photos, encoder=FakeEncoder(interrupt_after=2))
    assert len(index.search(b"x")[0]) == 2
    rest = FakeEncoder()
    assert index.sync(photos, encoder=rest).added == 1
    assert rest.encoded == [b"content c"]


def test_one_writer_at_a_time(index: Index, photos: Path) -> None:
    with Index.open(index._path) as other:

        class Meddling(FakeEncoder):
            def describe(self, content: bytes) -> np.ndarray:
                with pytest.raises(ArtifactError, match="is being written to already"):
                    other.sync(photos)
                return super().describe(content)

        assert index.sync(photos, encoder=Meddling()).added == 3


def test_a_closed_index_says_so(index: Index) -> None:
    index.close()
    with pytest.raises(ValueError, match="is closed"):
        len(index)


def test_what_is_no_query_is_named(index: Index, photos: Path) -> None:
    index.sync(photos)
    with pytest.raises(ConfigError, match=r"an image is a path, .* or several of these; got int"):
        index.search(12)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="got NoneType"):
        index.search([photos / "a.jpg", None])  # type: ignore[list-item]


def test_an_index_and_a_hit_in_one_line(index: Index, photos: Path) -> None:
    index.sync(photos)
    assert repr(index) == f"<Index {index._path!r}: 3 images, encoder {FakeEncoder().fingerprint[:12]}, 8 dimensions>"
    (hit,) = index.search(photos / "a.jpg", k=1, verify=0)[0]
    assert repr(hit) == f"Hit(path={hit.path!r}, score=1.0000, id=1)"
    (hit,) = index.search(photos / "a.jpg", k=1)[0]
    assert repr(hit).endswith("id=1, verdict='same', inliers=100, box=(0, 0, 64, 48))")
    index.close()
    assert "closed or unreadable" in repr(index)
