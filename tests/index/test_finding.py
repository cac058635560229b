"""Finding and knowing it: query views, verification, verdicts, boxes and explanations, with a small real network."""

from __future__ import annotations

import io
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.errors import ArtifactError, ConfigError, ImageError
from tfvlad.index import Index
from tfvlad.index.catalog import Snapshot

SIDE = 160
PICTURES = 30
EDGE = 6  # pixels of wall around a picture


def picture(seed: int) -> Image.Image:
    """Blots of many sizes, which are the same in no two pictures."""
    generator = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(generator.integers(0, 255, (n, n, 3), np.uint8)).resize(
                (SIDE, SIDE), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for n in (5, 10, 20)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


def photographed(seed: int, turn: float = 0.0) -> np.ndarray:
    """A picture in the middle of a grey wall, perhaps turned counter-clockwise."""
    wall = Image.new("RGB", (SIDE + 2 * EDGE, SIDE + 2 * EDGE), (90, 120, 100))
    wall.paste(picture(seed), (EDGE, EDGE))
    return np.asarray(wall.rotate(turn, Image.Resampling.BICUBIC, fillcolor=(90, 120, 100)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.Encoder:
    network = save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras", channels=16)
    config = tfvlad.EncoderConfig(
        backbone=network, layer="second", preprocessing="tf", image_size=SIDE, resize="fit",
        clusters=8, power=1.0, dim=16,
    )  # fmt: skip
    return tfvlad.Encoder.fit([np.asarray(picture(seed)) for seed in range(100, 140)], config, seed=3)


@pytest.fixture(scope="module")
def made(encoder: tfvlad.Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photos`` and an ``index`` of them, with local features."""
    place = tmp_path_factory.mktemp("made")
    (place / "photos").mkdir()
    for seed in range(PICTURES):
        picture(seed).save(place / "photos" / f"{seed:02}.png")
    with Index.create(place / "index", encoder) as index:
        assert index.sync(place / "photos").added == PICTURES
    return place


@pytest.fixture
def index(made: Path, encoder: tfvlad.Encoder, tmp_path: Path) -> Iterator[Index]:
    """A copy of the index, which finds its photographs where they were."""
    shutil.copytree(made / "index", tmp_path / "index")
    with Index.open(tmp_path / "index", encoder) as opened:
        yield opened


def name(hit: Any) -> str:
    return Path(hit.path).stem


def test_what_is_there_is_found_and_known(index: Index) -> None:
    found = index.search([photographed(3), photographed(7)], k=5, query_views="whole")
    for hits, right in zip(found, ("03", "07"), strict=True):
        assert len(hits) == 5
        assert name(hits[0]) == right
        assert hits[0].verdict in ("same", "likely")
        assert hits[0].inliers > 30 > max(hit.inliers for hit in hits[1:])
        assert hits[0].probability > 0.95 > max(hit.probability for hit in hits[1:])
        assert (hits[0].view, hits[0].query_view) == ("whole", "whole")
        x, y, width, height = hits[0].box
        assert (x, y) == (0, 0)  # the wall reaches beyond the found picture on each side
        assert width == pytest.approx(SIDE, abs=8)
        assert height == pytest.approx(SIDE, abs=8)


def test_what_is_not_there_is_told_to_be_not_there(index: Index) -> None:
    [hits] = index.search(photographed(99), k=3)
    assert {hit.verdict for hit in hits} <= {"unsure", "different"}


def test_descriptors_alone(index: Index) -> None:
    [hits] = index.search(photographed(3), k=40, verify=0, query_views="")
    assert len(hits) == PICTURES
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].inliers is hits[0].verdict is hits[0].probability is hits[0].box is None
    assert hits[0].view == "whole"
    [direct] = index.search_descriptors(index.encoder.encode(photographed(3)), k=40)
    assert [(hit.path, hit.id) for hit in direct] == [(hit.path, hit.id) for hit in hits]


def test_only_so_many_are_verified(index: Index) -> None:
    [hits] = index.search(photographed(3), k=10, verify=4)
    assert sum(hit.verdict is not None for hit in hits) == 4
    assert all(hit.verdict is None for hit in hits[4:])


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_views_of_the_query_find_what_is_turned(index: Index, turn: int) -> None:
    turned = np.rot90(np.asarray(picture(5)), turn // 90)
    [hits] = index.search(turned, k=3, query_views="rotations:4")
    assert name(hits[0]) == "05"
    assert hits[0].verdict in ("same", "likely")
    assert hits[0].query_view == f"turn {360 - turn}"
    [hits] = index.search(turned, k=3, query_views="whole", verify=PICTURES)
    assert hits[0].verdict not in ("same", "likely")


def test_a_part_of_the_query_is_a_view_of_it(index: Index) -> None:
    wide = Image.new("RGB", (3 * SIDE, 3 * SIDE), (90, 120, 100))
    for number in range(9):
        wide.paste(picture(6 if number == 4 else 200 + number), (SIDE * (number % 3), SIDE * (number // 3)))
    pixels = np.asarray(wide)
    [whole] = index.search(pixels, k=PICTURES, query_views="whole", verify=0)
    [parts] = index.search(pixels, k=PICTURES, query_views="regions:3", verify=0)
    assert {hit.query_view for hit in whole} == {"whole"}
    assert len({hit.query_view for hit in parts}) > 2


def test_views_of_the_images_are_verified_with_the_query_turned(index: Index, made: Path) -> None:
    index.sync(made / "photos", views="rotations:4")
    [hits] = index.search(np.rot90(np.asarray(picture(5))), k=3, query_views="whole")
    assert (name(hits[0]), hits[0].view, hits[0].query_view) == ("05", "turn 90", "whole")
    assert hits[0].verdict in ("same", "likely")
    assert hits[0].inliers > 30


def test_a_box_is_searched_for(index: Index, tmp_path: Path) -> None:
    two = Image.new("RGB", (2 * SIDE + 40, SIDE + 20))
    two.paste(picture(1), (10, 10))
    two.paste(picture(2), (SIDE + 30, 10))
    two.save(tmp_path / "two.png")
    for source in (tmp_path / "two.png", (tmp_path / "two.png").read_bytes(), np.asarray(two)):
        for box, right in (((10, 10, SIDE, SIDE), "01"), ((SIDE + 30, 10, SIDE, SIDE), "02")):
            [hits] = index.search(source, k=1, box=box, query_views="whole")
            assert (name(hits[0]), hits[0].verdict) == (right, "same")
            assert hits[0].box == pytest.approx((0, 0, SIDE, SIDE), abs=4)
    with pytest.raises(ImageError, match="is not inside its"):
        index.search(np.asarray(two), box=(1000, 0, 10, 10))
    with pytest.raises(ImageError, match="four numbers of pixels"):
        index.search(np.asarray(two), box=(float("nan"), 0, 10, 10))


def test_an_indexed_query_needs_no_encoder(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tfvlad.encoding.interface.load_folder", lambda *_: pytest.fail("the encoder was loaded"))
    (tmp_path / "copy.png").write_bytes((made / "photos" / "04.png").read_bytes())
    with Index.open(made / "index") as opened:
        number = next(file for file, path, _ in opened.images() if path == "04.png")
        found = [
            opened.search(made / "photos" / "04.png", k=2)[0],
            opened.search(str(tmp_path / "copy.png"), k=2, query_views="whole")[0],
            opened.search((tmp_path / "copy.png").read_bytes(), k=2)[0],
            opened.search_indexed(number, k=2),
            opened.search_indexed(tmp_path / "copy.png", k=2),
        ]
        assert {(name(hits[0]), round(hits[0].score, 5), hits[0].verdict) for hits in found} == {("04", 1.0, "same")}
        assert len({hits[1].id for hits in found}) == 1
        for missing in (999, tmp_path / "missing.png"):
            with pytest.raises(ConfigError, match="index"):
                opened.search_indexed(missing)


def test_an_indexed_query_needs_no_tensorflow(made: Path) -> None:
    program = (
        "import sys; from tfvlad.index import Index; index = Index.open(sys.argv[1]);"
        "[hits] = index.search(sys.argv[2], k=1); print(hits[0].verdict, 'tensorflow' in sys.modules)"
    )
    arguments = [sys.executable, "-c", program, str(made / "index"), str(made / "photos" / "04.png")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout == "same False\n"


def test_local_features_that_are_not_kept_are_extracted(index: Index, made: Path) -> None:
    index.sync(made / "photos", local_features=0)
    [hits] = index.search(photographed(3), k=3)
    assert hits[0].verdict is None
    [hits] = index.search(photographed(3), k=3, verify=10)
    assert (name(hits[0]), hits[0].verdict) == ("03", "same")
    assert hits[0].inliers > 30
    with pytest.raises(ConfigError, match="keeps no local features"):
        index.calibrate()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("data = substr(data, 1, 100)", "damaged local features: 100 bytes are not"),
        ("data = x'00'", "holds no local features"),
        ("data = 'text'", "holds local features that are no bytes"),
        ("data = zeroblob(length(data))", "holds no local features"),
        ("data = CAST(substr(data, 1, 40) || x'ffff' || substr(data, 43) AS BLOB)", "checksum does not fit"),
    ],
)
def test_local_features_from_somebody_who_means_harm(index: Index, change: str, reason: str) -> None:
    connection = sqlite3.connect(index._catalog.path)
    connection.execute(f"UPDATE local_features SET {change}")
    connection.commit()
    connection.close()
    with pytest.raises(ArtifactError) as caught:
        index.search(photographed(3), k=3)
    assert str(caught.value).startswith(index._catalog.path)
    assert len(str(caught.value).splitlines()) == 1
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "value", ["[]", "{", "1", '{"cells": 5}', '{"cells": {}}', '{"cells": {"chance": 1}}', "[" * 9999]
)
def test_a_calibration_from_somebody_who_means_harm(index: Index, value: str) -> None:
    with index._catalog.write() as change:
        change._put_setting("calibration", value)
    with pytest.raises(ArtifactError, match=r"catalog\.sqlite: .*calibration"):
        index.search(photographed(3), k=3)


def test_the_calibration_is_measured_after_a_synchronisation(index: Index, made: Path) -> None:
    measured = index.calibration()
    assert measured.images == PICTURES
    assert index.calibrate() == measured
    assert index.calibration("sift").images == 0 if _has_opencv() else True


def test_a_query_is_expanded_with_what_was_found(index: Index, made: Path, tmp_path: Path) -> None:
    for seed in range(3):
        Image.fromarray(photographed(seed)).save(tmp_path / f"again{seed}.png")
    index.sync(tmp_path, allow_empty=True)
    queries = [photographed(seed) for seed in (0, 20)]
    for verify in (0, 10):
        plain = index.search(queries, k=3, verify=verify, query_views="")
        expanded = index.search(queries, k=3, verify=verify, query_views="", expand=2)
        for hits, others in zip(plain, expanded, strict=True):
            assert name(hits[0]) == name(others[0])
    with pytest.raises(ConfigError, match="expand must be 0 or more"):
        index.search(queries, expand=-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": -1}, "verify must be 0 or more, got -1"),
        ({"query_views": "turns:3"}, "views must be some of"),
        ({"verifier": "eyes"}, "verifier must be cells or sift, got 'eyes'"),
    ],
)
def test_what_cannot_be_searched_for(index: Index, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        index.search(photographed(3), **options)


def test_other_searches_go_on_while_one_verifies(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verifier asks for the graph, which would wait for ever if the search still held it."""
    from tfvlad.index.verification import Verification

    compare = Verification.compare

    def asking(self: Verification, query: Any, candidates: Any, snapshot: Snapshot, cells: bool = False) -> Any:
        assert index._graphs._lock.acquire(timeout=5)
        index._graphs._lock.release()
        return compare(self, query, candidates, snapshot, cells)

    monkeypatch.setattr(Verification, "compare", asking)
    monkeypatch.setattr("tfvlad.index._search.enough_for_graph", lambda k: 1)
    [hits] = index.search(photographed(3), k=3)
    assert hits[0].verdict == "same"


def test_an_explanation(index: Index, tmp_path: Path) -> None:
    query = np.rot90(np.asarray(picture(3)))
    [hits] = index.search(query, k=2, query_views="rotations:4")
    explanation = index.explain(query, hits[0])
    assert (explanation.verdict, explanation.match.inliers) == ("same", hits[0].inliers)
    assert explanation.cells.shape == (hits[0].inliers, 2, 2)
    assert explanation.path == hits[0].path
    # The query's upper left corner was the picture's upper right one before it was turned.
    assert explanation.query_outline is not None
    assert np.abs(explanation.query_outline[0] - (1, 0)).max() < 0.15
    assert explanation.query_pixels.shape == query.shape
    for shares in (explanation.query_shares, explanation.found_shares):
        assert shares is not None
        one, other = index.encoder.encode([query, hits[0].path])
        assert shares.sum() == pytest.approx(float(one @ other), abs=1e-3)
    with Image.open(io.BytesIO(explanation.to_png())) as drawn:
        assert drawn.size[0] > 2 * 160
    by_id = index.explain(query, hits[0].id, shares=False)
    assert by_id.match.inliers >= hits[0].inliers - 5
    assert by_id.query_shares is None
    with pytest.raises(ConfigError, match="no file with the id 999"):
        index.explain(query, 999)


def test_an_explanation_of_what_does_not_match(index: Index) -> None:
    [hits] = index.search(photographed(99), k=1)
    explanation = index.explain(photographed(99), hits[0], shares=False)
    assert explanation.verdict in ("unsure", "different")
    assert explanation.to_png().startswith(b"\x89PNG")


def test_sift_verifies_through_the_files(index: Index) -> None:
    pytest.importorskip("cv2")
    [hits] = index.search(photographed(3), k=3, verifier="sift", query_views="whole")
    assert name(hits[0]) == "03"
    assert hits[0].inliers > 10
    assert hits[0].box is not None
    assert index.calibrate("sift").images == PICTURES


def _has_opencv() -> bool:
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True
