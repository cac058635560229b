"""A folder as the documentation supposes one: photographs, and queries of the same names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder. Its ``query.jpg`` shows the same as ``photos/11.jpg``."""
    generator = np.random.default_rng(0)
    for folder in ("photos", "queries"):
        (tmp_path / folder).mkdir()
    for number in range(12):
        noise = Image.fromarray(generator.integers(0, 255, (12, 16, 3), np.uint8)).resize((160, 120))
        noise.save(tmp_path / "photos" / f"{number}.jpg")
        ImageEnhance.Brightness(noise).enhance(1.1).save(tmp_path / "queries" / f"{number}.jpg")
    noise.save(tmp_path / "query.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path
