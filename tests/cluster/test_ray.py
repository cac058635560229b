"""Encoding on a Ray cluster: of several nodes on this machine, of which one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exports import ExportWith
from PIL import Image

import tfvlad
from tfvlad.cluster import EncodedFiles, RayEncoder, encode, encode_to_parquet
from tfvlad.errors import ArtifactError, ConfigError

ray = pytest.importorskip("ray", reason="needs Ray")
pytest.importorskip("ray.data", reason="needs Ray Data")

COUNT = 60
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def encoder(export_with: ExportWith) -> tfvlad.Encoder:
    return export_with("stretch").encoder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        blots = Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8))
        blots.resize((96, 64 + number % 7), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without workers, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(**NODE) for _ in range(2)]
    made.wait_for_nodes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", made.address)
        ray.init(made.address, log_to_driver=False, logging_level="ERROR")
        yield made, nodes
        ray.shutdown()
        made.shutdown()


def paths_of(folder: Path) -> list[dict[str, str]]:
    return [{"path": str(path)} for path in sorted(folder.iterdir())]


def test_rows_are_those_of_one_machine_and_failures_are_rows(
    cluster: Any, encoder: tfvlad.Encoder, pictures: Path
) -> None:
    rows = encode(ray.data.from_items(paths_of(pictures)), encoder, workers=2, batch=8).take_all()
    by_path = {row["path"]: row for row in rows}
    assert len(by_path) == COUNT + 1
    broken = by_path.pop(str(pictures / "broken.png"))
    assert broken["error"]
    assert broken["view"] is None
    expected = encoder.encode(list(by_path))
    found = np.stack([row["descriptor"] for row in by_path.values()])
    assert (found * expected).sum(axis=1).min() >= 0.99999
    assert all(row["local_features"] and row["error"] is None for row in by_path.values())


def test_bytes_are_encoded_too(cluster: Any, encoder: tfvlad.Encoder, pictures: Path) -> None:
    files = ray.data.read_binary_files([str(pictures / "00.png"), str(pictures / "01.png")], include_paths=True)
    rows = encode(files, encoder, views="rotations:4", local_features=0, workers=1).take_all()
    assert len(rows) == 8
    assert len({row["view"] for row in rows}) == 4
    assert not any(row["local_features"] for row in rows)


def test_a_data_set_is_taken_in_and_a_stopped_run_goes_on(
    cluster: Any, encoder: tfvlad.Encoder, pictures: Path, tmp_path: Path
) -> None:
    folder = str(tmp_path / "encoded.parquet")
    first = encode_to_parquet(ray.data.from_items(paths_of(pictures)[:20]), encoder, folder, workers=1)
    (Path(folder) / "half.partial").write_bytes(b"cut off")
    rest = encode_to_parquet(ray.data.from_items(paths_of(pictures)), encoder, folder, workers=1)
    assert (first, rest) == (20, COUNT + 1 - 20)
    with pytest.raises(ArtifactError, match="another encoder, or with other views"):
        encode_to_parquet(ray.data.from_items(paths_of(pictures)), encoder, folder, views="rotations:4")
    files: Any = EncodedFiles(folder)
    with tfvlad.Index.create(tmp_path / "index", encoder) as index:
        report = index.sync(pictures, files)
        assert (report.added, len(report.failed)) == (COUNT, 1)
        [hits] = index.search(pictures / "07.png")
        assert hits[0].path == str(pictures / "07.png")


def test_an_index_on_ray_is_that_of_one_machine(
    cluster: Any, encoder: tfvlad.Encoder, pictures: Path, tmp_path: Path
) -> None:
    here = tfvlad.Index.create(tmp_path / "here", encoder, views="rotations:4")
    there = tfvlad.Index.create(tmp_path / "there", encoder, views="rotations:4")
    remote: Any = RayEncoder(encoder, "ray", there.local_features)
    with here, there:
        assert here.sync(pictures).failed == there.sync(pictures, remote).failed
        one, other = here.contents(), there.contents()
        assert one.paths == other.paths
        assert (one.descriptors * other.descriptors).sum(axis=2).min() >= 0.99999
        query = pictures / "05.png"
        assert there.search(query, verify=5)[0][0].path == str(query)
        assert there.search(query, verify=5)[0][0].inliers == here.search(query, verify=5)[0][0].inliers
    remote.close()


def test_a_node_that_is_killed_costs_no_image(cluster: Any, encoder: tfvlad.Encoder, pictures: Path) -> None:
    made, nodes = cluster
    remote: Any = RayEncoder(encoder, "ray", 50, workers=2)
    contents = [path.read_bytes() for path in sorted(pictures.glob("*.png")) if path.stem != "broken"] * 4

    def sources() -> Iterator[bytes]:
        for number, content in enumerate(contents):
            if number == 100:
                made.remove_node(nodes.pop(0), allow_graceful=False)
                nodes.append(made.add_node(**NODE))
            yield content

    found = list(remote.describe_stream(sources()))
    expected = encoder.encode(contents[:COUNT])
    assert len(found) == len(contents)
    assert min(one.descriptors[0] @ expected[number % COUNT] for number, one in enumerate(found)) >= 0.99999
    remote.close()


def test_a_node_that_is_killed_costs_ray_data_no_row(cluster: Any, encoder: tfvlad.Encoder, pictures: Path) -> None:
    made, nodes = cluster
    rows = paths_of(pictures) * 3
    found = 0
    for batch in encode(ray.data.from_items(rows), encoder, workers=2, batch=8).iter_batches(batch_size=8):
        if not found:
            made.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(made.add_node(**NODE))
        found += len(batch["path"])
    assert found == len(rows)


def test_mistakes_are_one_line(cluster: Any, encoder: tfvlad.Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--engine must be ray, or ray://HOST:10001"):
        RayEncoder(encoder, "spark://host", 0)
    with pytest.raises(ConfigError):
        encode(ray.data.from_items([{"path": "x"}]), encoder, views="nonsense:3")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs Ray: pip install 'tfvlad\[ray\]'"):
        RayEncoder(encoder, "ray", 0)


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
        from helpers.fake_encoder import FakeEncoder
        from tfvlad.cluster import RayEncoder
        from tfvlad.errors import TfvladError
        try:
            RayEncoder(FakeEncoder(), "ray://127.0.0.1:9", 0)
        except TfvladError as error:
            print(error)
        """
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert run.stdout.startswith("ray://127.0.0.1:9: Ray cannot be used: "), run.stderr
    assert len(run.stdout.splitlines()) == 1
