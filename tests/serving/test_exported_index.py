"""An index in an exported model: `search` finds what `Index.search` finds exactly, here and through a `RemoteIndex`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from helpers.exports import ExportWith
from PIL import Image

import tfvlad
from tfvlad.errors import ConfigError, ImageError, MismatchError, ServingError
from tfvlad.index.contents import Contents
from tfvlad.serving import RemoteIndex
from tfvlad.serving._indexed_descriptors import MOST_HITS, IndexedDescriptors
from tfvlad.serving.saved_model import saved_model

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
SEARCH = {"exact": True, "verify": 0, "query_views": "whole"}


@pytest.fixture(scope="module")
def encoder(export_with: ExportWith) -> tfvlad.Encoder:
    return export_with("stretch").encoder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trips") / "photos"
    (folder / "2024").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(40):
        blots = Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8))
        blots.resize((96, 64 + number % 5), Image.Resampling.BICUBIC).save(folder / "2024" / f"{number:02}.png")
    shutil.copy(folder / "2024" / "07.png", folder / "a copy.png")
    Image.open(folder / "2024" / "09.png").save(folder / "other bytes.bmp")  # of the same pixels
    return folder


@pytest.fixture(scope="module", params=["whole", "rotations:4"])
def index(
    request: pytest.FixtureRequest, encoder: tfvlad.Encoder, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tfvlad.Index]:
    with tfvlad.Index.create(tmp_path_factory.mktemp("i") / "index", encoder, views=request.param) as made:
        made.sync(photos)
        yield made


@pytest.fixture(scope="module")
def exported(index: tfvlad.Index, encoder: tfvlad.Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(saved_model(encoder, tmp_path_factory.mktemp("models") / "covers", index=index))


@pytest.fixture(scope="module")
def search(exported: Path) -> Callable[..., dict[str, Any]]:
    signature = tf.saved_model.load(str(exported)).signatures["search"]

    def run(images: list[bytes], *k: int) -> dict[str, Any]:
        return {
            name: told.numpy()
            for name, told in signature(image_bytes=tf.constant(images, tf.string), k=tf.constant(k, tf.int32)).items()
        }

    return run


def test_it_finds_the_same_files_in_the_same_order(
    search: Callable[..., dict[str, Any]], index: tfvlad.Index, photos: Path
) -> None:
    paths = [photos / "2024" / f"{number:02}.png" for number in range(12)]
    told = search([path.read_bytes() for path in paths], *[MOST_HITS] * 12)
    assert told["valid"].all()
    assert (told["found"] == 42).all()
    expected = index.search(paths, 42, **SEARCH)
    assert told["ids"].tolist() == [[hit.id for hit in hits] for hits in expected]
    np.testing.assert_allclose(told["scores"], [[hit.score for hit in hits] for hits in expected], atol=3e-5)
    full = {file: path for file, _, path in index.images()}
    for ids, names in zip(told["ids"], told["paths"], strict=True):
        assert [str(photos.parent / name.decode()) for name in names] == [full[file] for file in ids]


def test_each_image_has_its_own_k_and_a_damaged_one_finds_nothing(
    search: Callable[..., dict[str, Any]], photos: Path
) -> None:
    good = (photos / "2024" / "03.png").read_bytes()
    told = search([good, b"no image", good, good[:200]], 2, 5, 4, 3)
    assert told["found"].tolist() == [2, 0, 4, 0]
    assert told["valid"].tolist() == [True, False, True, False]
    assert told["paths"].shape == (4, 5)
    assert told["paths"][0].tolist()[:2] == told["paths"][2].tolist()[:2]
    assert told["paths"][0][0] == b"photos/2024/03.png"
    for row, found in enumerate(told["found"]):
        assert set(told["paths"][row][found:]) == {b""}
        assert not told["scores"][row][found:].any()
        assert not told["ids"][row][found:].any()
    for k in (0, MOST_HITS + 1, -1):
        with pytest.raises(tf.errors.InvalidArgumentError, match="k must be 1 to 1000"):
            search([good], k)
    assert search([], *np.zeros(0, np.int32))["found"].shape == (0,)


def test_its_folder_tells_what_is_in_it(exported: Path, index: tfvlad.Index, encoder: tfvlad.Encoder) -> None:
    told = json.loads((exported / "assets.extra" / "tfvlad.json").read_text())
    views = index.contents().descriptors.shape[1]
    assert (told["fingerprint"], told["index"]["files"], told["index"]["views"]) == (encoder.fingerprint, 42, views)
    assert len(told["index"]["version"]) == 64
    assert "paths: string" in told["signatures"]["search"]
    assert told["most"]["search"] == 256


def test_tensorflow_alone_runs_it(exported: Path, photos: Path) -> None:
    photo = photos / "2024" / "05.png"
    run = subprocess.run(
        [sys.executable, HELPERS / "tensorflow_alone.py", exported, photo], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout)["hits"][0] == ["photos/2024/05.png"]


def test_equal_contents_have_one_version_and_others_another(index: tfvlad.Index) -> None:
    contents = index.contents()
    version = IndexedDescriptors(contents).version
    assert IndexedDescriptors(index.contents()).version == version
    assert IndexedDescriptors(contents._replace(paths=contents.paths[::-1])).version != version
    assert IndexedDescriptors(contents._replace(descriptors=-contents.descriptors)).version != version


def test_numpy_finds_the_same_among_random_descriptors() -> None:
    generator = np.random.default_rng(1)
    stored = generator.standard_normal((70_000, 2, 16)).astype(np.float32)  # more than one block
    stored[500:1000] = stored[:500]  # equal scores
    stored /= np.linalg.norm(stored, axis=2, keepdims=True)
    files = np.arange(1, 140_001, 2)
    held = IndexedDescriptors(Contents(files, [f"p/{n}" for n in files], stored))
    queries = np.concatenate([stored[:20, 0], stored[30_000:30_020, 1]])
    scores = np.einsum("qd,nvd->qnv", queries.astype(np.float64), stored.astype(np.float64)).max(axis=2)
    best = np.argsort(-scores.astype(np.float32), axis=1, kind="stable")[:, :25]
    count = len(queries)
    told = held.search(tf.constant(queries), tf.fill((count,), 25), tf.fill((count,), True))
    found = told["ids"].numpy()
    np.testing.assert_allclose(told["scores"], np.take_along_axis(scores, best, 1), atol=2e-5)
    # Where the order differs, the scores are nearer to each other than the rounding to 16 bits.
    moved = found != files[best]
    assert moved.mean() < 0.02
    assert (np.abs(np.take_along_axis(scores, found // 2, 1) - np.take_along_axis(scores, best, 1)) < 2e-5).all()
    assert (found[:20, :2] == np.stack([files[:20], files[500:520]], axis=1)).all()  # equal ones by id


def test_what_cannot_be_exported_is_refused_in_one_line(
    encoder: tfvlad.Encoder, export_with: ExportWith, photos: Path, tmp_path: Path
) -> None:
    with tfvlad.Index.create(tmp_path / "empty", encoder) as empty:
        with pytest.raises(ConfigError, match="holds no image, so there is nothing to export"):
            saved_model(encoder, tmp_path / "m", index=empty)
        with pytest.raises(MismatchError, match="was made with the encoder"):
            saved_model(export_with("fit").encoder, tmp_path / "m", index=empty)
    assert not (tmp_path / "m").exists()
    many = Contents(np.array([2**31]), ["p/1"], np.ones((1, 1, 4), np.float32) / 2)
    with pytest.raises(ConfigError, match="below 2"):
        IndexedDescriptors(many)


@pytest.fixture(scope="module")
def loaded(exported: Path) -> Any:
    pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")
    from helpers import model_servers

    return model_servers.Model(tf.saved_model.load(str(exported)).signatures)


class TestRemoteIndex:
    """Through a model server, over gRPC and REST."""

    @pytest.fixture(params=["grpc", "rest"])
    def url(self, request: pytest.FixtureRequest, loaded: Any) -> Iterator[str]:
        from helpers import model_servers

        with getattr(model_servers, f"{request.param}_server")(loaded) as address:
            yield address

    def test_it_finds_what_the_index_finds(self, url: str, loaded: Any, index: tfvlad.Index, photos: Path) -> None:
        remote = RemoteIndex(url, batch=4)
        paths = [photos / "2024" / f"{number:02}.png" for number in range(6)]
        found = remote.search(paths, k=5)
        expected = index.search(paths, 5, **SEARCH)
        assert [[hit.id for hit in hits] for hits in found] == [[hit.id for hit in hits] for hits in expected]
        assert found[3][0].path == "photos/2024/03.png"
        assert found[3][0].score == pytest.approx(1, abs=1e-4)
        assert [rows for signature, rows in loaded.asked if signature == "search"][-2:] == [4, 2]
        pixels = np.asarray(Image.open(paths[0]))
        assert remote.search(pixels, k=1)[0][0].path == "photos/2024/00.png"
        assert len(remote.search(paths[0].read_bytes(), k=1000)[0]) == 42
        assert remote.search([], k=3) == []
        remote.close()

    def test_mistakes_are_one_line(self, url: str, exported: Path, photos: Path) -> None:
        version = json.loads((exported / "assets.extra" / "tfvlad.json").read_text())["index"]["version"]
        photo = photos / "2024" / "00.png"
        assert RemoteIndex(url, version=version).search(photo, k=1)
        with pytest.raises(MismatchError, match="serves version"):
            RemoteIndex(url, version="0" * 64).search(photo)
        with pytest.raises(MismatchError, match="serves the encoder"):
            RemoteIndex(url, fingerprint="0" * 64).search(photo)
        for k in (0, 1001):
            with pytest.raises(ConfigError, match="k must be 1 to 1000"):
                RemoteIndex(url).search(photo, k=k)
        with pytest.raises(ImageError, match="cannot use it"):
            RemoteIndex(url).search([photo, b"nonsense"])
        with pytest.raises(ImageError):
            RemoteIndex(url).search(photos / "none.png")
        with pytest.raises(ConfigError, match="not the URL"):
            RemoteIndex("ftp://x")

    def test_a_model_without_an_index_is_told_so(self, export_with: ExportWith, photos: Path) -> None:
        pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")
        from helpers import model_servers

        with (
            model_servers.grpc_server(model_servers.Model(export_with("stretch").signatures)) as url,
            pytest.raises(ServingError, match="signature"),
        ):
            RemoteIndex(url).search(photos / "2024" / "00.png")


HONEST = {
    "paths": np.array([["p/1", "p/2"], ["p/2", ""]]),
    "scores": np.array([[0.9, 0.8], [0.7, 0.0]], np.float32),
    "ids": np.array([[1, 2], [2, 0]], np.int32),
    "found": np.array([2, 1], np.int32),
    "valid": np.array([True, True]),
    "fingerprint": np.array(["ab" * 32] * 2),
    "index": np.array(["cd" * 32] * 2),
}
LIES: dict[str, dict[str, Any]] = {
    "more than were asked for": {"found": np.array([3, 1], np.int32)},
    "fewer than none": {"found": np.array([-1, 1], np.int32)},
    "widths that differ": {"ids": np.array([[1], [2]], np.int32)},
    "a score that is no number": {"scores": np.array([[np.nan, 0], [0, 0]], np.float32)},
    "two versions": {"index": np.array(["cd" * 32, "ce" * 32])},
    "a version that is none": {"index": np.array(["\x1b[31mred"] * 2)},
    "hits of three": {"paths": np.array([["p", "p"]] * 3)},
    "more hits than there can be": {"paths": np.full((2, 1001), "p")},
}


@pytest.mark.parametrize("kind", ["grpc", "rest"])
@pytest.mark.parametrize("lie", [None, *LIES])
def test_a_server_that_lies_ends_in_one_line(lie: str | None, kind: str) -> None:
    pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")
    from helpers import hostile_servers
    from helpers.hostile_servers import as_json, as_proto, http_answer

    arrays = {**HONEST, **LIES.get(lie or "", {})}
    server = (
        hostile_servers.http_server(lambda *asked: http_answer(as_json(arrays)))
        if kind == "rest"
        else hostile_servers.grpc_server(lambda *asked: as_proto(arrays))
    )
    with server as url:
        remote = RemoteIndex(url, timeout=20.0, attempts=1)
        if lie is None:
            hits = remote.search([b"one", b"two"], k=2)
            assert [[(hit.path, hit.id) for hit in row] for row in hits] == [[("p/1", 1), ("p/2", 2)], [("p/2", 2)]]
            return
        with pytest.raises(ServingError) as caught:
            remote.search([b"one", b"two"], k=2)
        assert str(caught.value).startswith(url)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600
