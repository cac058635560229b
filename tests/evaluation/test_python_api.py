"""An index is evaluated from Python, without the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
import tfvlad.evaluation
from tfvlad.evaluation import evaluate_index, load_queries_and_database


@pytest.fixture
def photos(photos: Path) -> Path:
    """Six images of coloured blots."""
    generator = np.random.default_rng(0)
    for number in range(6):
        blots = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        blots.resize((96, 72), Image.Resampling.BICUBIC).save(photos / f"{number}.png")
    return photos


def test_an_index_is_evaluated_in_a_few_lines(photos: Path, tmp_path: Path) -> None:
    """Queries with the bytes of the six indexed images and one without a match: each finds its image first."""
    queries = tmp_path / "queries"
    queries.mkdir()
    for path in photos.iterdir():
        (queries / path.name).write_bytes(path.read_bytes())
    (queries / "stray.png").write_bytes((photos / "0.png").read_bytes())
    (queries / "5.png").write_bytes(b"no picture")
    network = save_tiny_network(tmp_path / "tiny.keras")
    config = tfvlad.EncoderConfig(
        backbone=network,
        layer="second",
        preprocessing="tf",
        image_size=64,
        resize="stretch",
        power=1.0,
        clusters=4,
        dim=4,
    )
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.fit(photos, config)) as index:
        index.sync(photos)
        dataset, not_indexed = load_queries_and_database(index, queries=str(queries))
        evaluation = evaluate_index(index, dataset, graph_hits=2)
    assert not_indexed == []
    assert (evaluation.metrics.queries, evaluation.metrics.map, evaluation.metrics.recall_at[1]) == (5, 1, 1)
    assert [result.first_right_rank for result in evaluation.results] == [1, 1, 1, 1, 1, None]
    assert [Path(failure.path).name for failure in evaluation.failures] == ["5.png"]
    assert evaluation.graph is not None
    assert [ranking.shape for ranking in evaluation.graph_rankings or []] == [(6,)] * 6


def test_its_names_are_there_and_load_nothing_heavy_before_they_are_used() -> None:
    for name in tfvlad.evaluation.__all__:
        assert getattr(tfvlad.evaluation, name).__name__ == name
        assert name in dir(tfvlad.evaluation)
    with pytest.raises(AttributeError, match=r"module 'tfvlad.evaluation' has no attribute 'measure'"):
        tfvlad.evaluation.measure  # noqa: B018
    code = "import sys, tfvlad.evaluation.datasets; sys.exit(bool({'hnswlib', 'tensorflow', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
