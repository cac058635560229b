"""The paper's method on real photographs, through the commands: DVD covers, and photographs of them as queries.

Every second cover and its photographs: one image is two points, so differences of four or six points are noise, and the
bounds keep away from them. `benchmarks/dvd_covers.py` measures all of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tfvlad
from tfvlad.commands._main import run
from tfvlad.evaluation.datasets import DatabaseImage, plain_folder
from tfvlad.evaluation.metrics import Evaluation, evaluate
from tfvlad.images.listing import image_paths
from tfvlad.images.loading import ImageLoader


@pytest.fixture(scope="module")
def covers(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's folders, with every second cover."""
    folder = tmp_path_factory.mktemp("covers")
    for part in ("Reference", "Canon", "E63"):
        (folder / part).mkdir()
        for path in image_paths(data_dir / "smvs_dvd" / part)[::2]:
            (folder / part / Path(path).name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def measure(data_dir: Path, covers: Path, tmp_path_factory: pytest.TempPathFactory):
    """fit on Reference + Canon, index Reference, evaluate on E63: (layer, size) -> (encoder's folder, metrics)."""
    done: dict[tuple[str, int], tuple[Path, dict]] = {}

    def measured(capsys: pytest.CaptureFixture[str], layer: str, size: int) -> tuple[Path, dict]:
        if (layer, size) not in done:
            folder = tmp_path_factory.mktemp(f"{layer}_{size}")
            encoder, index = folder / "encoder", folder / "index"
            network = data_dir / "squeezenet_imagenet_notop.keras"
            fit = [f"--backbone={network}", "--preprocessing=caffe", f"--layer={layer}", f"--image_size={size}"]
            fit += ["--resize=stretch", "--power=1", "--dim=64"]  # the paper's, but for 64 dimensions in place of 128
            images = [f"--images={covers / 'Reference'}", f"--images={covers / 'Canon'}"]
            assert run(["fit", *fit, *images, f"--encoder={encoder}"]) == 0
            assert run(["index", images[0], f"--encoder={encoder}", f"--index={index}"]) == 0
            capsys.readouterr()
            assert run(["evaluate", f"--index={index}", f"--queries={covers / 'E63'}", "--format=json"]) == 0
            done[layer, size] = encoder, json.loads(capsys.readouterr().out)
        return done[layer, size]

    return measured


def recall(measure, capsys: pytest.CaptureFixture[str], layer: str, size: int) -> float:
    return measure(capsys, layer, size)[1]["recall_at"]["1"]


def test_an_intermediate_layer_at_a_fine_scale_finds_the_covers(measure, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = measure(capsys, "fire8_concat", 448)[1]
    assert metrics["queries"] == 50
    assert metrics["recall_at"]["1"] >= 0.30
    assert metrics["mrr"] >= 0.42


def test_a_finer_scale_lifts_the_layer(measure, capsys: pytest.CaptureFixture[str]) -> None:
    assert recall(measure, capsys, "fire8_concat", 448) >= recall(measure, capsys, "fire8_concat", 224) + 0.08


def test_at_the_networks_own_scale_the_last_layer_is_not_the_best(measure, capsys: pytest.CaptureFixture[str]) -> None:
    intermediate, last = (measure(capsys, layer, 224)[1] for layer in ("fire8_concat", "fire9_concat"))
    assert intermediate["mrr"] > last["mrr"]


def test_vlad_is_far_above_mean_pooling(measure, covers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, metrics = measure(capsys, "fire8_concat", 448)
    encoder = tfvlad.Encoder.load(path)
    references, queries = image_paths(covers / "Reference"), image_paths(covers / "E63")
    database = [DatabaseImage(Path(name).name, name, number) for number, name in enumerate(references)]
    truth = plain_folder(covers / "E63", database, "same_name").ground_truth
    pooled = [[encoder.local_features(name).mean(axis=(0, 1)) for name in names] for names in (references, queries)]
    rows, asked = (np.array(part) / np.linalg.norm(part, axis=1, keepdims=True) for part in pooled)
    pooling: Evaluation = evaluate(np.argsort(-(asked @ rows.T), axis=1), truth)
    assert metrics["recall_at"]["1"] > pooling.recall_at[1] + 0.2


def test_layer_path_and_kernel_path_agree(measure, covers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = tfvlad.Encoder.load(measure(capsys, "fire8_concat", 224)[0])
    paths = image_paths(covers / "E63")[:12]
    loader = ImageLoader(224, "stretch", "caffe")
    in_graph = np.asarray(encoder.model()(np.stack([loader.load(path) for path in paths])))
    assert np.sum(in_graph * encoder.encode(paths), axis=1).min() >= 0.9999


def test_verification_knows_the_covers_again(data_dir: Path, covers: Path, tmp_path: Path) -> None:
    """Every second photograph; queries are turned by quarters, and local features decide."""
    config = tfvlad.EncoderConfig(
        backbone=str(data_dir / "squeezenet_imagenet_notop.keras"), preprocessing="caffe", layer="fire5_concat",
        image_size=320, resize="fit", clusters=64, dim=64,
    )  # fmt: skip
    encoder = tfvlad.Encoder.fit([*image_paths(covers / "Reference"), *image_paths(covers / "Canon")], config)
    queries = image_paths(covers / "E63")[::2]
    with tfvlad.Index.create(tmp_path / "index", encoder) as index:
        index.sync(covers / "Reference")
        plain, verified = (index.search(queries, k=1, query_views="rotations:4", verify=verify) for verify in (0, None))
    right, known = (
        [Path(hits[0].path).name == Path(query).name for query, hits in zip(queries, found, strict=True)]
        for found in (plain, verified)
    )
    assert np.mean(known) >= np.mean(right) + 0.15
    surely = [hits[0].verdict in ("same", "likely") for hits in verified]
    assert all(is_right for is_right, is_sure in zip(known, surely, strict=True) if is_sure)
    assert sum(surely) >= 0.7 * sum(known)
