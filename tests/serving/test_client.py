"""A served encoder, used like one that runs here; the servers run the exported model in this process."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.documentation import ROOT, blocks
from helpers.exports import ExportWith
from PIL import Image

import tfvlad
from tfvlad.errors import ConfigError, ImageError, MismatchError, ServingError
from tfvlad.images.views import View
from tfvlad.serving import load_encoder

pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")

from helpers import model_servers

from tfvlad.serving.client import RemoteEncoder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(10):
        blots = Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8))
        blots.resize((96, 64 + number), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=92)
    return folder


@pytest.fixture(scope="module")
def encoder(export_with: ExportWith) -> tfvlad.Encoder:
    return export_with("stretch").encoder


@pytest.fixture(scope="module")
def loaded(export_with: ExportWith) -> model_servers.Model:
    return model_servers.Model(export_with("stretch").signatures)


@pytest.fixture
def model(loaded: model_servers.Model) -> model_servers.Model:
    loaded.asked.clear()
    loaded.headers.clear()
    loaded.unavailable, loaded.delay = 0, 0.0
    return loaded


@pytest.fixture(params=["grpc", "rest"])
def url(request: pytest.FixtureRequest, model: model_servers.Model) -> Iterator[str]:
    with getattr(model_servers, f"{request.param}_server")(model) as address:
        yield address


def test_it_gives_what_the_encoder_gives(
    url: str, model: model_servers.Model, encoder: tfvlad.Encoder, photos: Path
) -> None:
    remote = RemoteEncoder(url, batch=4)
    assert (remote.fingerprint, remote.dim) == (encoder.fingerprint, 6)
    paths = sorted(photos.iterdir())
    np.testing.assert_allclose(remote.encode(iter(paths)), encoder.encode(paths), atol=1e-5)
    assert model.asked[0] == ("info", 1)
    assert sorted(rows for _, rows in model.asked[1:]) == [2, 4, 4]
    assert {name[-13:] for name, _ in model.asked[1:]} == {f"_{encoder.fingerprint[:12]}"}  # no other encoder has it
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 4), np.uint8)
    for source in (paths[0], paths[0].read_bytes(), pixels, pixels[..., :3], pixels[..., 0]):
        np.testing.assert_allclose(remote.encode(source), encoder.encode(source), atol=1e-5)
    assert remote.encode([]).shape == (0, 6)
    for headers in model.headers:
        assert "gzip" not in headers.get("grpc-encoding", "") + headers.get("accept-encoding", "")
    remote.close()


def test_it_gives_local_features_as_the_encoder_does(
    url: str, model: model_servers.Model, encoder: tfvlad.Encoder, photos: Path
) -> None:
    sources = [*sorted(photos.iterdir())[:5], b"no picture", np.zeros((30, 40, 3), np.uint8)]
    remote = RemoteEncoder(url)
    told, expected = list(remote.describe_stream(sources)), list(encoder.describe_stream(sources))
    assert isinstance(told.pop(5), ImageError)
    assert isinstance(expected.pop(5), ImageError)
    for one, other in zip(told, expected, strict=True):
        assert not isinstance(one, ImageError)
        assert not isinstance(other, ImageError)
        assert one.size == other.size
        np.testing.assert_allclose(one.descriptor, other.descriptor, atol=1e-5)
        np.testing.assert_allclose(one.features, other.features, atol=1e-5)
    # Two requests are under way at a time, and either may arrive first. In JSON, the features of one image are enough.
    counts = [3, 4] if url.startswith("grpc") else [1] * 7
    assert sorted(model.asked[1:]) == [("local_features", count) for count in counts]


def test_views_are_rendered_and_sent(url: str, encoder: tfvlad.Encoder, photos: Path) -> None:
    sources = [b"no picture", *sorted(photos.iterdir())[:3], b"none", np.zeros((30, 40, 3), np.uint8), b""]
    views = [View(90), View(45, (0.25, 0, 1, 1)), View()]
    found = list(RemoteEncoder(url).describe_views(iter(sources), views))
    assert [isinstance(result, ImageError) for result in found] == [True, False, False, False, True, False, True]
    for result, source in zip(found, sources, strict=True):
        if isinstance(result, ImageError):
            continue
        assert (result.views, result.pass_of) == (tuple(views), (0, 1, 2))
        assert [its.view for its in result.passes] == [View(90), View(45), View()]
        (whole,) = encoder.describe_stream([source])
        assert not isinstance(whole, ImageError)
        assert result.size == whole.size
        np.testing.assert_allclose(result.descriptors[2], whole.descriptor, atol=1e-5)
        np.testing.assert_allclose(result.passes[2].features, whole.features, atol=1e-5)
    assert list(RemoteEncoder(url).describe_views([], views)) == []


def test_a_server_of_an_earlier_release_is_asked_twice(
    url: str, model: model_servers.Model, encoder: tfvlad.Encoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = model.run

    def as_before(signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        told = run(signature, inputs)
        return {name: told[name] for name in ("features", "grid")} if signature == "local_features" else told

    monkeypatch.setattr(model, "run", as_before)
    sources = sorted(photos.iterdir())[:2]
    for one, other in zip(RemoteEncoder(url).describe_stream(sources), encoder.describe_stream(sources), strict=True):
        np.testing.assert_allclose(one.descriptor, other.descriptor, atol=1e-5)  # type: ignore[union-attr]
        np.testing.assert_allclose(one.features, other.features, atol=1e-5)  # type: ignore[union-attr]


def test_another_encoder_behind_the_url_gives_no_local_features(
    url: str, model: model_servers.Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteEncoder(url)
    assert remote.dim == 6
    run = model.run
    monkeypatch.setattr(model, "run", lambda *asked: {**run(*asked), "fingerprint": np.array([b"other"], object)})
    with pytest.raises(MismatchError, match="serves another encoder"):
        list(remote.describe_stream(sorted(photos.iterdir())[:1]))


def test_a_bad_image_is_a_value_in_the_stream_and_an_error_in_encode(url: str, photos: Path) -> None:
    remote = RemoteEncoder(url)
    sources = [photos / "0.jpg", b"no picture", photos / "nowhere.jpg", b"", photos / "1.jpg"]
    rows = list(remote.encode_stream(sources))
    assert [isinstance(row, ImageError) for row in rows] == [False, True, True, True, False]
    assert [str(row) for row in rows[1:4]] == [
        "<bytes>: the server cannot use it: damaged, too small, or of another format",
        f"{photos / 'nowhere.jpg'}: No such file or directory",
        "<bytes>: an empty file",
    ]
    with pytest.raises(ImageError, match="<bytes>: the server cannot use it"):
        remote.encode(sources)
    assert len(list(remote.encode_stream([b"x"]))) == 1


def test_large_files_go_one_by_one(url: str, model: model_servers.Model, photos: Path, encoder: tfvlad.Encoder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)  # a PNG of 9 MB
    remote = RemoteEncoder(url)
    np.testing.assert_allclose(remote.encode([noise, noise]), encoder.encode([noise, noise]), atol=1e-5)
    assert [rows for _, rows in model.asked[1:]] == [1, 1]


def test_an_unavailable_server_is_asked_again_and_no_other_failure(
    url: str, model: model_servers.Model, photos: Path
) -> None:
    model.unavailable = 2
    remote = RemoteEncoder(url, attempts=3)
    assert remote.encode(photos / "0.jpg").shape == (1, 6)
    assert len(model.headers) == 4  # info refused, refused, answered; the image answered
    model.unavailable = 3
    with pytest.raises(ServingError, match="loading"):
        remote.encode(photos / "0.jpg")
    model.headers.clear()
    with pytest.raises(ServingError, match=r"Servable not found|Malformed request"):
        RemoteEncoder(url.replace("covers", "others")).encode(photos / "0.jpg")
    assert len(model.headers) == 1


def test_a_deadline_is_kept_and_not_tried_again(url: str, model: model_servers.Model, photos: Path) -> None:
    remote = RemoteEncoder(url, timeout=0.2)
    assert remote.dim == 6
    model.delay = 1.0
    model.headers.clear()
    with pytest.raises(ServingError, match=r"DEADLINE_EXCEEDED|no answer within 0.2 s"):
        remote.encode(photos / "0.jpg")
    assert len(model.headers) == 1


def test_nothing_listening_is_one_line() -> None:
    with socket.socket() as reserved:  # bound, and not listening
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        for url in (f"grpc://127.0.0.1:{port}/m", f"http://127.0.0.1:{port}/v1/models/m"):
            with pytest.raises(ServingError, match=rf"127.0.0.1:{port}.*refused"):
                _ = RemoteEncoder(url, attempts=2).dim


def test_another_encoder_is_refused_before_an_image_is_sent(url: str, model: model_servers.Model, photos: Path) -> None:
    with pytest.raises(MismatchError, match=r"covers serves the encoder [0-9a-f]{12}, not 000000000000"):
        RemoteEncoder(url, fingerprint="0" * 64).encode(photos / "0.jpg")
    assert model.asked == [("info", 1)]


@pytest.mark.parametrize(
    "url", ["grpc://host", "grpc://host:1/a/b", "http://host/models/m", "ftp://h/m", "grpc://h/m/versions/new"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a served encoder: grpc://HOST"):
        load_encoder(url)


def test_an_index_made_with_it_is_searched_with_it_or_with_the_encoder(
    url: str, encoder: tfvlad.Encoder, photos: Path, tmp_path: Path
) -> None:
    with tfvlad.Index.create(tmp_path / "index", RemoteEncoder(url)) as index:
        assert index.sync(photos).added == 10
    for same in (RemoteEncoder(url), encoder):
        with tfvlad.Index.open(tmp_path / "index", same) as index:
            assert index.search(photos / "4.jpg", k=1)[0][0].path == str(photos / "4.jpg")
    # A stranger's index must not choose where one's photographs are sent.
    with (
        tfvlad.Index.open(tmp_path / "index") as index,
        pytest.raises(ConfigError, match="give its URL as the encoder"),
    ):
        index.search((photos / "3.jpg").read_bytes() + b"\0")  # an indexed image itself needs no encoder


def test_an_exchange_behind_the_url_is_an_error_and_not_a_mixture(
    url: str, model: model_servers.Model, export_with: ExportWith, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteEncoder(url)
    assert remote.encode(photos / "0.jpg").shape == (1, 6)
    monkeypatch.setattr(model, "signatures", export_with("fit").signatures)  # also of 6 dimensions
    with pytest.raises(ServingError, match="signature name not found"):
        remote.encode(photos / "0.jpg")


def test_the_code_in_the_guide(
    loaded: model_servers.Model,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(photos / "0.jpg", tmp_path / "query.jpg")
    monkeypatch.chdir(tmp_path)
    with model_servers.grpc_server(model_servers.Model(loaded.signatures, "photos")) as address:
        _, client, stubs = (  # the first one searches, for which there is a test beside an exported index
            block.replace("localhost:8500", address.split("/")[2])
            for block in blocks("py", ROOT / "docs" / "guides" / "serving.md")
        )
        exec(compile(client, "serving.md", "exec"), {})
        exec(compile(stubs, "serving.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["(2, 6)", "(2, 6) [ True False]"]
