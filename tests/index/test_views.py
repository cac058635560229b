"""A second view beside the whole picture: what synchronisation and search must do with it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.syncing import counts
from PIL import Image

from tfvlad.errors import ConfigError
from tfvlad.images.views import View
from tfvlad.index import Index
from tfvlad.index._sync import SyncReport, synchronise
from tfvlad.index.catalog import Catalog


class PixelEncoder(FakeEncoder):
    """Describes pixels by their bytes; pixels that begin with 7 are no image."""

    def __init__(self) -> None:
        super().__init__()
        self.max_pixels = 1000

    def describe(self, content: Any) -> np.ndarray:
        return super().describe(content if isinstance(content, bytes) else content.tobytes())

    def encode_stream(self, sources: Any) -> Any:
        return super().encode_stream(source if isinstance(source, bytes) else source.tobytes() for source in sources)


@pytest.fixture
def pixels(photos: Path) -> np.ndarray:
    """Of ``photos/a.png``: red on the left, blue on the right."""
    red_blue = np.zeros((2, 4, 3), np.uint8)
    red_blue[:, :2, 0] = red_blue[:, 2:, 2] = 255
    Image.fromarray(red_blue).save(photos / "a.png")
    return red_blue


def run(catalog: Catalog, photos: Path, encoder: PixelEncoder, **options: Any) -> SyncReport:
    return synchronise(catalog, [str(photos)], lambda: encoder, **options)


def views_of(catalog: Catalog, path: Path) -> dict[str, np.ndarray]:
    with catalog.read() as snapshot:
        encoded = snapshot.views_of_content(hashlib.sha256(path.read_bytes()).digest())
    return {view: np.frombuffer(vector, np.float32) for view, vector in encoded}


def test_an_image_has_a_descriptor_for_each_view(catalog: Catalog, photos: Path, pixels: np.ndarray) -> None:
    encoder = PixelEncoder()
    assert counts(run(catalog, photos, encoder, views="rotations:2")) == (1, 0, 0, 0, 0)
    found = views_of(catalog, photos / "a.png")
    assert list(found) == ["whole", "turn 180"]
    assert np.array_equal(found["whole"], encoder.describe((photos / "a.png").read_bytes()))
    assert np.array_equal(found["turn 180"], encoder.describe(np.ascontiguousarray(pixels[::-1, ::-1])))


def test_a_copy_has_the_views_encoded_that_the_image_lacks(catalog: Catalog, photos: Path, pixels: np.ndarray) -> None:
    run(catalog, photos, PixelEncoder())
    whole = views_of(catalog, photos / "a.png")["whole"]
    (photos / "copy.png").write_bytes((photos / "a.png").read_bytes())
    encoder = PixelEncoder()
    assert counts(run(catalog, photos, encoder, views="rotations:2")) == (1, 0, 0, 1, 0)
    assert encoder.encoded == [pixels[::-1, ::-1].tobytes()]
    found = views_of(catalog, photos / "a.png")
    assert (list(found), found["whole"].tolist()) == (["whole", "turn 180"], whole.tolist())


def test_an_image_that_cannot_be_rendered_is_a_failure(catalog: Catalog, photos: Path, pixels: np.ndarray) -> None:
    (photos / "b.png").write_bytes((photos / "a.png").read_bytes()[:40])
    (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:40])
    Image.new("RGB", (50, 50)).save(photos / "large.png")
    report = run(catalog, photos, PixelEncoder(), views="rotations:2")
    assert counts(report) == (1, 0, 0, 0, 3)
    assert [Path(failure.path).name for failure in report.failed] == ["b.png", "c.png", "large.png"]
    assert "more than max_pixels=1000" in report.failed[2].reason


def test_a_view_that_cannot_be_encoded_fails_the_whole_image(
    catalog: Catalog, photos: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(View, "render", lambda view, pixels: np.frombuffer(b"bad", np.uint8))
    report = run(catalog, photos, PixelEncoder(), views="rotations:2")
    assert [failure.reason for failure in report.failed] == ["is no picture"]
    assert views_of(catalog, photos / "a.png") == {}


def test_an_image_is_found_by_any_of_its_views(tmp_path: Path, photos: Path, pixels: np.ndarray) -> None:
    encoder = PixelEncoder()
    with Index.create(tmp_path / "index", encoder) as index:
        run(index._catalog, photos, encoder, views="rotations:2")
        assert len(index) == 1
        for query in ((photos / "a.png").read_bytes(), pixels[::-1, ::-1].tobytes()):
            [[hit]] = index.search_descriptors([encoder.describe(query)])
            assert (hit.path, round(hit.score, 5)) == (str(photos / "a.png"), 1.0)


def test_adding_views_encodes_what_is_missing_and_nothing_else(
    catalog: Catalog, photos: Path, pixels: np.ndarray
) -> None:
    (photos / "copy.png").write_bytes((photos / "a.png").read_bytes())
    run(catalog, photos, PixelEncoder())
    encoder = PixelEncoder()
    report = run(catalog, photos, encoder, views="rotations:2")
    assert (counts(report), report.completed) == ((0, 0, 0, 2, 0), 2)
    assert encoder.encoded == [pixels[::-1, ::-1].tobytes()]
    report = run(catalog, photos, encoder)  # as it is stored
    assert (counts(report), report.completed, len(encoder.encoded)) == ((0, 0, 0, 2, 0), 0, 1)


def test_views_that_are_left_out_are_removed(catalog: Catalog, photos: Path, pixels: np.ndarray) -> None:
    run(catalog, photos, PixelEncoder(), views="rotations:4")
    encoder = PixelEncoder()
    run(catalog, photos, encoder, views="rotations:2")
    assert list(views_of(catalog, photos / "a.png")) == ["whole", "turn 180"]
    run(catalog, photos, encoder, views="")
    assert list(views_of(catalog, photos / "a.png")) == ["whole"]
    assert encoder.encoded == []


def test_a_removed_file_takes_its_views_with_it(catalog: Catalog, photos: Path, pixels: np.ndarray) -> None:
    (photos / "copy.png").write_bytes((photos / "a.png").read_bytes())
    run(catalog, photos, PixelEncoder(), views="rotations:2", local_features=9)
    (photos / "a.png").rename(photos / "moved.png")
    encoder = PixelEncoder()
    assert counts(run(catalog, photos, encoder)) == (1, 0, 1, 1, 0)
    (photos / "copy.png").unlink()
    (photos / "moved.png").unlink()
    assert counts(run(catalog, photos, encoder, allow_empty=True)) == (0, 0, 2, 0, 0)
    assert encoder.encoded == []
    with catalog.read() as snapshot:
        assert snapshot.count_descriptors() == 0
        assert snapshot.images_with_local_features().size == 0


@pytest.mark.parametrize("options", [{"views": "turns:2"}, {"local_features": -1}, {"local_features": 1 << 20}])
def test_what_cannot_be_kept_is_refused_before_anything_is_done(
    catalog: Catalog, photos: Path, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    encoder = PixelEncoder()
    with pytest.raises(ConfigError, match=r"views must be|local_features must be 0 to 16384 cells"):
        run(catalog, photos, encoder, **options)
    assert encoder.encoded == []
