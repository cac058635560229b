"""A tiny network, drawn photographs, and what the commands make of them; and a way to call the commands."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_results import Command, Result
from helpers.tiny_networks import save_tiny_network
from PIL import Image, ImageEnhance

import tfvlad
from tfvlad.commands._main import run

PHOTOGRAPHS = 8
SIZE = 64  # pixels of the network's input


@pytest.fixture(autouse=True)
def _no_advice_on_tracing(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow warns of many encoders in one process, which only tests make."""
    caplog.set_level(logging.ERROR, "tensorflow")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the commands as a user does; paths may be given as they are."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        return Result(run([str(argument) for argument in arguments]), *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``000.jpg`` … of coloured blots."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        blots = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        blots.resize((96, 72), Image.Resampling.BICUBIC).save(folder / f"{number:03}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def queries(photos: Path) -> Path:
    """Each photograph, a little brighter and compressed anew, under the same name."""
    folder = photos.parent / "queries"
    folder.mkdir()
    for path in sorted(photos.iterdir()):
        with Image.open(path) as photograph:
            ImageEnhance.Brightness(photograph).enhance(1.1).save(folder / path.name, quality=75)
    return folder


@pytest.fixture
def broken(photos: Path, tmp_path: Path) -> Path:
    """A folder of five photographs and three files that are none: ``cut.jpg``, ``empty.png`` and ``text.jpg``."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in sorted(photos.iterdir())[:5]:
        shutil.copy(path, folder)
    (folder / "cut.jpg").write_bytes((photos / "000.jpg").read_bytes()[:400])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def network_flags(network: str) -> list[str]:
    return [f"--backbone={network}", "--layer=second", "--preprocessing=tf", f"--image_size={SIZE}"]


@pytest.fixture(scope="session")
def fit_flags(network_flags: list[str]) -> list[str]:
    return [*network_flags, "--resize=stretch", "--clusters=4", "--power=1", "--dim=4"]


@pytest.fixture(scope="session")
def encoder(photos: Path, network: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted as `fit` with `fit_flags` does."""
    return _fit(photos, network, tmp_path_factory.mktemp("encoder") / "encoder")


@pytest.fixture(scope="session")
def other_encoder(photos: Path, network: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _fit(photos, network, tmp_path_factory.mktemp("encoder") / "other", clusters=3)


def _fit(photos: Path, network: str, path: Path, clusters: int = 4) -> Path:
    config = tfvlad.EncoderConfig(
        backbone=network, layer="second", preprocessing="tf", image_size=SIZE, resize="stretch", clusters=clusters,
        power=1.0, dim=4,
    )  # fmt: skip
    tfvlad.Encoder.fit(photos, config).save(path)
    return path


@pytest.fixture(scope="session")
def index(photos: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the photographs that keeps no local features, to search only; a test that changes one makes its own.

    Its searches are in the order of the descriptors.
    """
    path = tmp_path_factory.mktemp("index") / "index"
    with tfvlad.Index.create(path, tfvlad.Encoder.load(encoder), local_features=0) as made:
        made.sync(photos)
    return path


@pytest.fixture(scope="session")
def verifying_index(photos: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the photographs that keeps local features, as one does by default; to search only."""
    path = tmp_path_factory.mktemp("index") / "verifying"
    with tfvlad.Index.create(path, tfvlad.Encoder.load(encoder)) as made:
        made.sync(photos)
    return path


@pytest.fixture
def no_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be encoded."""

    def refuse(*arguments: Any) -> None:
        pytest.fail("an image was encoded")

    for way in ("encode_stream", "describe_stream", "describe_views"):
        monkeypatch.setattr(tfvlad.Encoder, way, refuse)
