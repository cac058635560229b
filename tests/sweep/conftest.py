"""Tiny drawn photographs, a tiny network, and the study of both."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_networks import save_tiny_network
from PIL import Image, ImageEnhance

import tfvlad
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, plain_folder
from tfvlad.images.listing import list_images

PHOTOGRAPHS = 12


@pytest.fixture(autouse=True)
def _no_advice_on_tracing(caplog: pytest.LogCaptureFixture) -> None:
    """TensorFlow warns of many networks in one process, which only tests make."""
    caplog.set_level(logging.ERROR, "tensorflow")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos/000.jpg`` … of coloured blots, and ``queries/000.jpg`` … much darker, cut and compressed anew."""
    folder = tmp_path_factory.mktemp("sweep")
    generator = np.random.default_rng(0)
    for name in ("photos", "queries"):
        (folder / name).mkdir()
    for number in range(PHOTOGRAPHS):
        blots = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        photograph = blots.resize((96, 72), Image.Resampling.BICUBIC)
        photograph.save(folder / "photos" / f"{number:03}.jpg", quality=90)
        dark = ImageEnhance.Brightness(photograph.crop((16, 12, 96, 72))).enhance(0.5)
        dark.save(folder / "queries" / f"{number:03}.jpg", quality=40)
    return folder


@pytest.fixture(scope="session")
def database(drawn: Path) -> list[DatabaseImage]:
    names = enumerate(list_images(drawn / "photos"))
    return [DatabaseImage(name, str(drawn / "photos" / name), number) for number, name in names]


@pytest.fixture(scope="session")
def dataset(drawn: Path, database: list[DatabaseImage]) -> Dataset:
    return dataclasses.replace(plain_folder(drawn / "queries", database, "same_name"), name="blots")


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.EncoderConfig:
    network = save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras")
    return tfvlad.EncoderConfig(backbone=network, preprocessing="tf", resize="stretch", power=1.0)
