"""Parquet data sets of encoded images: what is written is taken in, and what is damaged is refused in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_encoder import FakeEncoder

import tfvlad
from tfvlad.cluster import EncodedFiles
from tfvlad.cluster.parquet import metadata, table
from tfvlad.encoding.views import Encoded
from tfvlad.errors import ArtifactError, ConfigError, MismatchError
from tfvlad.images.views import WHOLE, parse_views
from tfvlad.matching.cells import describe_cells
from tfvlad.matching.compression import Projection

pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
from pyarrow import parquet  # noqa: E402

DIM, CELLS, VIEWS = 8, 50, "rotations:4"


def encoded(encoder: FakeEncoder, content: bytes) -> Encoded | str:
    if content.startswith(b"bad"):
        return "is no picture"
    [found] = encoder.describe_views([content], parse_views(VIEWS))
    assert not isinstance(found, Exception)
    whole = next(one.features for one in found.passes if one.view == WHOLE)
    local = describe_cells(whole, Projection.seeded(16, 16), found.size, WHOLE.to_picture((1, 1)), CELLS)
    return Encoded(found.descriptors, local.to_bytes())


def write(folder: Path, files: dict[str, bytes], encoder: FakeEncoder, **changed: Any) -> None:
    folder.mkdir(exist_ok=True)
    rows = table(
        list(files),
        [hashlib.sha256(content).digest() for content in files.values()],
        [encoded(encoder, content) for content in files.values()],
        [view.name for view in parse_views(VIEWS)],
        DIM,
    )
    told = metadata(encoder.fingerprint, VIEWS, CELLS) | changed
    name = hashlib.sha256(repr(sorted(files)).encode()).hexdigest()[:8]
    parquet.write_table(rows.replace_schema_metadata(told), folder / f"{name}.parquet", row_group_size=7)


@pytest.fixture
def contents(photos: Path) -> dict[str, bytes]:
    files = {f"{number:03}.jpg": b"%d" % number for number in range(40)} | {"bad.jpg": b"bad one"}
    for name, content in files.items():
        (photos / name).write_bytes(content)
    return files


def test_an_index_of_it_is_that_of_the_encoder(photos: Path, contents: dict[str, bytes], tmp_path: Path) -> None:
    encoder: Any = FakeEncoder(DIM)
    names = sorted(contents)
    for part in (names[:20], names[20:]):
        write(tmp_path / "e.parquet", {name: contents[name] for name in part}, encoder)
    files: Any = EncodedFiles(tmp_path / "e.parquet")
    assert (files.fingerprint, files.dim, files.views, files.local_features) == ("f" * 64, DIM, VIEWS, CELLS)
    taken = tfvlad.Index.create(tmp_path / "taken", encoder, views=VIEWS, local_features=CELLS)
    made = tfvlad.Index.create(tmp_path / "made", encoder, views=VIEWS, local_features=CELLS)
    encoder.encoded.clear()
    with taken, made:
        report = taken.sync(photos, files)
        assert encoder.encoded == []
        assert (report.added, [failure.reason for failure in report.failed]) == (40, ["is no picture"])
        made.sync(photos, encoder)
        np.testing.assert_array_equal(taken.contents().descriptors, made.contents().descriptors)
        queries = [photos / name for name in names[:8]]
        for query in queries:
            found, expected = (one.search_indexed(query, verify=5) for one in (taken, made))
            assert [(hit.path, hit.score, hit.inliers) for hit in found] == [
                (hit.path, hit.score, hit.inliers) for hit in expected
            ]
        encoder.encoded.clear()
        again = taken.sync(photos, encoder)  # nothing is missing
        assert (again.unchanged, again.added, encoder.encoded) == (40, 0, [])


def test_what_it_lacks_is_told_and_found_the_next_time(
    photos: Path, contents: dict[str, bytes], tmp_path: Path
) -> None:
    encoder: Any = FakeEncoder(DIM)
    write(tmp_path / "e.parquet", {name: contents[name] for name in sorted(contents)[:30]}, encoder)
    with tfvlad.Index.create(tmp_path / "i", encoder, views=VIEWS, local_features=CELLS) as index:
        files: Any = EncodedFiles(tmp_path / "e.parquet")
        report = index.sync(photos, files)
        assert report.added == 30
        assert all("it was not encoded, or has changed since" in failure.reason for failure in report.failed)
        report = index.sync(photos, encoder)
        assert (report.added, [failure.reason for failure in report.failed]) == (10, ["is no picture"])


def test_another_encoder_is_refused(photos: Path, contents: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path / "e.parquet", contents, FakeEncoder(DIM, "a" * 64))
    encoder: Any = FakeEncoder(DIM)
    with tfvlad.Index.create(tmp_path / "i", encoder) as index:
        files: Any = EncodedFiles(tmp_path / "e.parquet")
        with pytest.raises(MismatchError, match="was made with the encoder ffffffffffff, not aaaaaaaaaaaa"):
            index.sync(photos, files)


def test_what_is_no_data_set_is_refused_in_one_line(contents: dict[str, bytes], tmp_path: Path) -> None:
    encoder = FakeEncoder(DIM)

    def refused(path: Path) -> str:
        with pytest.raises(ArtifactError) as caught:
            EncodedFiles(path)
        assert str(caught.value).isprintable()
        return str(caught.value)

    assert "is not a folder of Parquet files" in refused(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no .parquet file" in refused(tmp_path / "empty")
    (tmp_path / "empty" / "x.parquet").write_bytes(b"no Parquet at all")
    assert "is no part of a tfvlad data set" in refused(tmp_path / "empty")
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "empty" / "x.parquet")
    assert "is no part of a tfvlad data set" in refused(tmp_path / "empty")
    write(tmp_path / "newer", contents, encoder, **{"tfvlad.format": "2"})
    assert "no data set of format 1" in refused(tmp_path / "newer")
    write(tmp_path / "mixed", {"1.jpg": b"1"}, encoder)
    write(tmp_path / "mixed", {"2.jpg": b"2"}, FakeEncoder(DIM, "b" * 64))
    assert "is of another encoder" in refused(tmp_path / "mixed")
    write(tmp_path / "cut", contents, encoder)
    (part,) = (tmp_path / "cut").iterdir()
    part.write_bytes(part.read_bytes()[:-100])
    assert "is no part of a tfvlad data set" in refused(tmp_path / "cut")


@pytest.mark.parametrize("column", ["descriptor", "local_features"])
def test_hostile_contents_are_refused_in_one_line(
    column: str, photos: Path, contents: dict[str, bytes], tmp_path: Path
) -> None:
    encoder: Any = FakeEncoder(DIM)
    write(tmp_path / "e.parquet", contents, encoder)
    (part,) = (tmp_path / "e.parquet").iterdir()
    rows = parquet.read_table(part)
    if column == "descriptor":
        changed = pa.FixedSizeListArray.from_arrays(pa.array(np.full(len(rows) * DIM, np.nan, np.float32)), DIM)
    else:
        changed = pa.array([b"no features"] * len(rows), pa.binary())
    parquet.write_table(rows.set_column(rows.schema.get_field_index(column), column, changed), part)
    files: Any = EncodedFiles(tmp_path / "e.parquet")
    with (
        tfvlad.Index.create(tmp_path / "i", encoder, views=VIEWS, local_features=CELLS) as index,
        pytest.raises(ArtifactError) as caught,
    ):
        index.sync(photos, files)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_missing_pyarrow_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Parquet needs pyarrow"):
        EncodedFiles(tmp_path)
