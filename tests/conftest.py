from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tfvlad.config import IndexConfig
from tfvlad.index.catalog import Catalog

if TYPE_CHECKING:
    from helpers.exports import ExportWith

# A first example may compile a Numba kernel: no test is held to a time.
settings.register_profile("tfvlad", deadline=None)
settings.load_profile("tfvlad")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real images, an ImageNet-trained network and official vectors, which are kept outside the repository."""
    beside_repository = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TFVLAD_TEST_DATA", beside_repository))
    if not folder.is_dir():
        pytest.skip(f"no test data: {folder} is not a folder (TFVLAD_TEST_DATA names another)")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An empty folder for images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """An empty catalog of 8-dimensional descriptors."""
    (tmp_path / "i.index").mkdir()
    opened = Catalog.create(str(tmp_path / "i.index"), "f", 8, IndexConfig())
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def export_with(tmp_path_factory: pytest.TempPathFactory) -> ExportWith:
    """See `exports.make_exports`."""
    from helpers.exports import make_exports  # imports TensorFlow, which many tests do without

    return make_exports(tmp_path_factory.mktemp("exports"))
