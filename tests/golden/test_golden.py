"""Folders that the first release of each format wrote (`golden/make.py`): they must load for ever."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfvlad
from tfvlad.errors import ArtifactError

GOLDEN = Path(__file__).parent
TOLERANCE = 1e-3  # of cosines: the network's sums differ by rounding between machines


@pytest.fixture(params=["v1", "v2", "v3"])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, as an index that is opened is written to."""
    shutil.copytree(GOLDEN / request.param, tmp_path / "golden")
    return tmp_path / "golden"


@pytest.fixture
def no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        pytest.fail("an image was encoded")

    for way in ("encode_stream", "describe_stream", "describe_views"):
        monkeypatch.setattr(tfvlad.Encoder, way, refuse)


def expected(golden: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((golden / "expected.json").read_text())
    return found


def test_the_encoder_loads_and_gives_the_same_descriptor(golden: Path) -> None:
    encoder = tfvlad.Encoder.load(golden / "index" / "encoder")
    assert encoder.fingerprint == expected(golden)["fingerprint"]
    descriptor = encoder.encode(golden / "photos" / "a.png")[0]
    assert float(descriptor @ np.array(expected(golden)["descriptor"])) == pytest.approx(1, abs=TOLERANCE)


def test_the_index_is_searched(golden: Path) -> None:
    with tfvlad.Index.open(golden / "index") as index:
        hits = index.search(golden / "photos" / "a.png", k=3)[0]
        assert index.verify().recall == 1
    assert [hit.path for hit in hits] == [str(golden / "photos" / str(name)) for name, _ in _hits(golden)]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in _hits(golden)], abs=TOLERANCE)


def test_what_format_2_keeps_is_read(golden: Path, no_encoding: None) -> None:
    inliers = expected(golden).get("inliers of a.png")
    with tfvlad.Index.open(golden / "index") as index:
        best = index.search(golden / "photos" / "a.png", k=3)[0][0] if inliers else None
        with index._catalog.read() as snapshot:
            kept, measured = snapshot.kept(), snapshot.all_hubness()[0]
            calibrations, local_features = snapshot.calibrations(), snapshot.images_with_local_features()
    if best is None:  # format 1 keeps none of it
        assert (kept.local_features, len(measured), calibrations, len(local_features)) == (0, 0, None, 0)
        return
    assert (kept.views, kept.local_features, len(measured), len(local_features)) == ("scales:2", 100, 6, 3)
    assert isinstance(calibrations, dict)
    assert "cells" in calibrations
    # A later verifier may count otherwise, though hardly find less than half of a picture in itself.
    assert best.inliers is not None
    assert 2 * best.inliers >= inliers
    assert os.path.basename(best.path) == "a.png"
    assert None not in (best.verdict, best.probability, best.box)


def test_the_graph_is_the_recorded_one(golden: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tfvlad.Index.open(golden / "index") as index, index._graphs.current() as (graph, _):
        assert len(graph) == expected(golden).get("descriptors", 3)
    assert caplog.messages == []


def test_the_index_is_synchronised_without_encoding_anything_again(golden: Path, no_encoding: None) -> None:
    for path in (golden / "photos").iterdir():
        os.utime(path)  # as a checkout does
    shutil.copy(golden / "photos" / "b.png", golden / "photos" / "copy.png")
    (golden / "photos" / "c.png").unlink()
    (golden / "photos" / "broken.png").unlink()
    with tfvlad.Index.open(golden / "index") as index:
        report = index.sync(golden / "photos")
        assert (report.added, report.removed, report.unchanged, report.failed) == (1, 1, 2, [])
        assert sorted(path for _, path, _ in index.images()) == ["a.png", "b.png", "copy.png"]


def test_its_failures_are_told(golden: Path) -> None:
    with tfvlad.Index.open(golden / "index") as index:
        [folder] = index.folders()
    assert (folder.path, folder.files) == (str(golden / "photos"), 3)
    assert [failure.path for failure in folder.failed] == [str(golden / "photos" / "broken.png")]


def test_the_next_format_is_refused_by_name(golden: Path) -> None:
    description = golden / "index" / "encoder" / "encoder.json"
    stored = json.loads(description.read_text())
    description.write_text(json.dumps({**stored, "format": 4}))
    with pytest.raises(ArtifactError, match=r"encoder: format 4 is newer than this tfvlad reads \(3\)"):
        tfvlad.Encoder.load(golden / "index" / "encoder")


def _hits(golden: Path) -> list[tuple[str, float]]:
    return [(str(name), float(score)) for name, score in expected(golden)["hits of a.png"]]
