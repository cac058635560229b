"""A served encoder on files that its exported model does not decode: they are sent as pixels, at equal descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.exports import Exported, ExportWith
from helpers.many_formats import HEIGHT, KINDS, P3, WIDTH, in_profile, saved

from tfvlad.errors import ImageError

pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")

from helpers import model_servers

from tfvlad.serving import client
from tfvlad.serving._contents import sent_content
from tfvlad.serving.client import RemoteEncoder


@pytest.fixture(scope="module")
def exported(export_with: ExportWith) -> Exported:
    return export_with("stretch")


@pytest.fixture(scope="module", params=["grpc", "rest"])
def remote(request: pytest.FixtureRequest, exported: Exported) -> Iterator[RemoteEncoder]:
    model = model_servers.Model(exported.signatures)
    with getattr(model_servers, f"{request.param}_server")(model) as address:
        yield RemoteEncoder(address)


def test_descriptors_are_equal(remote: RemoteEncoder, exported: Exported, tmp_path: Path) -> None:
    paths = []
    for number, kind in enumerate(KINDS.values()):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(kind.data)
    large = in_profile(P3).resize((3001, 2101))
    for number, (kind, options) in enumerate({"JPEG": {"icc_profile": P3}, "TIFF": {}, "JPEG2000": {}}.items()):
        paths.append(tmp_path / f"large {number}")
        paths[-1].write_bytes(saved(kind, large, **options))
    cosines = (remote.encode(paths) * exported.encoder.encode(paths)).sum(axis=1)
    assert cosines.min() >= 0.99999


def test_large_pictures_are_sent_small(tmp_path: Path) -> None:
    large = in_profile(P3).resize((4032, 3024))
    content, size = sent_content(saved("TIFF", large), 256, 10**8)
    assert isinstance(content, bytes)
    assert content.startswith(b"\x89PNG")
    assert size == (4032, 3024)
    assert client.upright_size(content) == (2016, 1512)


def test_local_features_know_the_size(remote: RemoteEncoder, exported: Exported) -> None:
    data = KINDS["AVIF, turned"].data
    (here,), (there,) = exported.encoder.describe_stream([data]), remote.describe_stream([data])
    assert here.size == there.size == (WIDTH, HEIGHT)
    np.testing.assert_allclose(here.features, there.features, atol=1e-4)


def test_damaged_files_are_told_apart(remote: RemoteEncoder) -> None:
    results = list(remote.encode_stream([KINDS["HEIC"].data[:300], KINDS["HEIC"].data]))
    assert isinstance(results[0], ImageError)
    assert isinstance(results[1], np.ndarray)
