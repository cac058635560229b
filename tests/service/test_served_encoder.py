"""A service whose encoder runs in a model server: it needs no network of its own, and outlives the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.exports import ExportWith
from helpers.services import asked, settings
from starlette.testclient import TestClient

import tfvlad
from tfvlad.errors import ConfigError

pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")

from helpers import model_servers

from tfvlad.service.app import Service
from tfvlad.serving import RemoteEncoder


def found(client: TestClient, path: Path) -> str:
    response = client.post("/v1/search", files={"file": path.read_bytes()}, data={"quick": "true"})
    assert response.status_code == 200, response.text
    return str(response.json()["hits"][0]["path"])


def test_a_service_asks_a_model_server(export_with: ExportWith, pictures: Path, tmp_path: Path) -> None:
    exported = export_with("stretch")
    with tfvlad.Index.create(tmp_path / "i", exported.encoder) as index:
        index.sync(pictures)
    model = model_servers.Model(exported.signatures)
    with model_servers.grpc_server(model) as url:
        remote = RemoteEncoder(url, timeout=5)
        with asked({"i": str(tmp_path / "i")}, settings(), lambda: remote) as client:
            copy = tmp_path / "query.jpg"
            copy.write_bytes((pictures / "03.jpg").read_bytes() + b"\0")  # other bytes, so that it is encoded
            assert found(client, copy) == "pictures/03.jpg"
            told = client.post("/v1/explain", files={"file": copy.read_bytes()}, data={"found": "4"})
            assert told.status_code == 200
            damaged = client.post("/v1/search", files={"file": copy.read_bytes()[:300]})
            assert damaged.status_code == 422
            model.unavailable = 100
            refused = client.post("/v1/search", files={"file": copy.read_bytes() + b"\0"})
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
            assert refused.json() == {"error": "the model server that encodes pictures does not answer"}
            assert client.post("/v1/search", json={"id": 4}).json()["hits"][0]["path"] == "pictures/03.jpg"
            model.unavailable = 0
            assert found(client, copy) == "pictures/03.jpg"


def test_an_index_of_a_served_encoder_needs_its_address(
    export_with: ExportWith, pictures: Path, tmp_path: Path
) -> None:
    exported = export_with("stretch")
    with model_servers.grpc_server(model_servers.Model(exported.signatures)) as url:
        with tfvlad.Index.create(tmp_path / "i", RemoteEncoder(url)) as index:
            index.sync(pictures)
        with pytest.raises(ConfigError, match="give its URL as --encoder"):
            Service({"i": str(tmp_path / "i")})
