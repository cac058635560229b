"""Each kind of bad request is answered by its status and one line of JSON, which tells nothing of the machine."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.services import asked, picture, settings
from helpers.tiny_networks import save_tiny_network
from PIL import Image
from starlette.testclient import TestClient

import tfvlad
from tfvlad.images.formats import NOT_AN_IMAGE
from tfvlad.service.settings import ServiceSettings

TOKEN = "a token of some length".replace(" ", "-")


def refused(response: Any, status: int) -> str:
    """The reason; fails where the answer is anything but a refusal."""
    assert response.status_code == status, response.text
    answer = response.json()
    assert list(answer) == ["error"]
    assert answer["error"].isprintable()
    assert "/" not in answer["error"].replace("multipart/form-data", "").replace("application/json", "").replace(
        "GET /v1/indexes", ""
    )
    return str(answer["error"])


def bomb(side: int) -> bytes:
    """A PNG of some kilobytes that announces side x side pixels, and has them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[TestClient]:
    """Asks a service with a real, tiny network, which decodes pictures."""
    folder = tmp_path_factory.mktemp("real")
    config = tfvlad.EncoderConfig(
        backbone=save_tiny_network(folder / "tiny.keras"), layer="second", preprocessing="tf", image_size=64,
        clusters=4, dim=4, codebook_samples=1000,
    )  # fmt: skip
    encoder = tfvlad.Encoder.fit(pictures, config)
    with tfvlad.Index.create(folder / "i", encoder) as index:
        index.sync(pictures)
    with asked({"i": str(folder / "i")}, settings(max_pixels=1_000_000), None) as client:
        yield client


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (b"no picture at all", NOT_AN_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_AN_IMAGE),
        (picture(1)[:300], "damaged or truncated"),
        (picture(1, kind="PNG")[:100], "damaged or truncated"),
        (b"\x89PNG\r\n\x1a\n", "damaged or truncated"),
        (bomb(20_000), "20000x20000 pixels are more than max_pixels=1000000"),
    ],
)
def test_what_is_no_picture(real: TestClient, data: bytes, reason: str) -> None:
    assert reason in refused(real.post("/v1/search", files={"file": data}), 422)
    if data:
        image = base64.b64encode(data).decode()
        assert reason in refused(real.post("/v1/search", json={"image": image}), 422)
        assert reason in refused(real.post("/v1/explain", json={"image": image, "found": 1}), 422)


@pytest.mark.parametrize("box", ["200,0,10,10", "90,70,100,100", "0,0,0.1,0.1", "1000000,0,10,10"])
def test_a_box_outside_of_the_picture(real: TestClient, box: str) -> None:
    refused(real.post("/v1/search", files={"file": picture(1)}, data={"box": box}), 422)


def test_a_real_service_answers(real: TestClient) -> None:
    answer = real.post("/v1/search", files={"file": picture(1)}, data={"box": "10,10,60,50"})
    assert answer.status_code == 200
    assert len(answer.json()["hits"]) == 10


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"k": "0"}, "k must be a whole number, 1 to 1000"),
        ({"k": "1001"}, "k must be"),
        ({"k": "-1"}, "k must be"),
        ({"k": "1e3"}, "k must be"),
        ({"k": "9" * 400}, "k must be"),
        ({"k": "nan"}, "k must be"),
        ({"k": ""}, "k must be"),
        ({"k": "٣"}, "k must be"),
        ({"verify": "501"}, "verify must be a whole number, 0 to 500"),
        ({"expand": "101"}, "expand must be a whole number, 0 to 100"),
        ({"quick": "yes"}, "quick must be true or false"),
        ({"box": "1,2,3"}, "box must be x, y, width, height"),
        ({"box": "nan,0,1,1"}, "box must be"),
        ({"box": "0,0,inf,1"}, "box must be"),
        ({"box": "0,0,0,1"}, "box must be"),
        ({"box": "-1,0,1,1"}, "box must be"),
        ({"box": "0,0,1e300,1"}, "box must be"),
        ({"index": ""}, "index must be a name"),
        ({"index": "x" * 101}, "index must be a name"),
        ({"index": "a\x00b"}, "index must be a name"),
        ({"view": "up"}, "view must be the name of a view"),
        ({"id": "1"}, "not both"),
        ({"kk": "1"}, "there is no field 'kk'"),
        ({"image": "1"}, "of a form, the picture is the field file"),
    ],
)
def test_fields_of_a_form(client: TestClient, fields: dict[str, str], reason: str) -> None:
    assert reason in refused(client.post("/v1/search", files={"file": picture(1)}, data=fields), 400)


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "1", "null", '"text"', "{}", '{"id": null}', '{"id": 0}', '{"id": -1}', '{"id": 1.5}',
        '{"id": "1"}', '{"id": true}', '{"id": [1]}', '{"id": 1e400}', '{"id": 99999999999999999999}',
        '{"id": ' + "9" * 5000 + "}", '{"id": NaN}', '{"id": 1, "k": NaN}', '{"id": 1, "k": Infinity}',
        '{"id": 1, "k": -Infinity}', '{"id": 1, "k": 1e99}', '{"id": 1, "k": {}}', '{"id": 1, "box": "0,0,1,1"}',
        '{"id": 1, "box": [0, 0, 1]}', '{"id": 1, "box": [0, 0, 1, NaN]}', '{"id": 1, "box": [0, 0, 1, 1e999]}',
        '{"id": 1, "box": [0, 0, 1, [1]]}', '{"id": 1, "box": [0, 0, true, 1]}', '{"image": 1}', '{"image": "?"}',
        '{"image": "AAAA\\n"}', '{"id": 1, "image": "AAAA"}', '{"id": 1, "file": "x"}', "[" * 100_000,
        '{"id": 1, "quick": 1}', '{"id": 1, "index": 1}', '{"id": 1, "view": "turn 1e"}', '{"id": 1, "\\ud800": 1}',
    ],
)  # fmt: skip
def test_json_that_asks_for_nothing_sensible(client: TestClient, body: str) -> None:
    refused(client.post("/v1/search", content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"x", "text/plain", 415),
        (b"x", "", 415),
        (picture(1), "image/jpeg", 415),
        (b"id=1", "application/x-www-form-urlencoded", 415),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=a", 400),
        (b"--a\r\n\r\nx\r\n--a--", "multipart/form-data; boundary=a", 400),
        (b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--", "multipart/form-data; boundary=a", 400),
        (b"--a\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--a--", "multipart/form-data; boundary=a", 400),
        (b"--a\r\n" + b"x" * 9000, "multipart/form-data; boundary=a", 400),
        (b"\xff\xfe\xfd", "application/json", 400),
    ],
)
def test_bodies_of_other_kinds(client: TestClient, content: bytes, kind: str, status: int) -> None:
    refused(client.post("/v1/search", content=content, headers={"Content-Type": kind}), status)


def test_more_parts_than_a_form_may_have(client: TestClient) -> None:
    two = [("file", ("a", picture(1))), ("file", ("b", picture(2)))]
    refused(client.post("/v1/search", files=two), 400)
    many = {f"f{number}": "x" for number in range(40)}
    refused(client.post("/v1/search", files={"file": picture(1)}, data=many), 400)
    refused(client.post("/v1/search", files={"file": picture(1)}, data={"index": "x" * 100_000}), 400)
    refused(client.post("/v1/search", files={"file": picture(1), "k": b"3"}), 400)
    assert "twice" in refused(client.post("/v1/search", files={"file": picture(1)}, data={"k": ["1", "2"]}), 400)


def test_a_body_that_is_too_large(client: TestClient) -> None:
    assert "1 MiB" in refused(client.post("/v1/search", files={"file": b"x" * 2**20}), 413)
    large = client.post("/v1/search", json={"image": "A" * 2**20})
    refused(large, 413)
    assert large.headers["connection"] == "close"
    refused(client.post("/v1/search", content=b"{}", headers={"Content-Length": str(2**30)}), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 2**16

    refused(client.post("/v1/search", content=chunks(), headers={"Content-Type": "application/json"}), 413)


def test_unknown_addresses_and_methods(client: TestClient) -> None:
    for address in (
        "/nothing",
        "/v1",
        "/v1/",
        "/v2/search",
        "/v1/images/1/else",
        "/v1/search/",
        "/static/",
        "/v1/images/x",
    ):
        refused(client.get(address), 404)
    for address in ("/", "/healthz", "/v1/images/1"):
        refused(client.post(address), 405)
    refused(client.get("/v1/search"), 405)
    refused(client.post("/v1/search", json={"id": 31}), 404)
    refused(client.post("/v1/search", json={"id": 2**62, "box": [0, 0, 5, 5]}), 404)
    refused(client.post("/v1/search", json={"id": 1, "generation": "other"}), 410)


@pytest.fixture(scope="module")
def guarded(served_index: Path) -> Iterator[TestClient]:
    origins = ("https://good.example",)
    with asked({"i": str(served_index)}, settings(token=TOKEN, cors_origins=origins)) as client:
        yield client


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
               "Bearer ä", f"Bearer {TOKEN} {TOKEN}"]
)  # fmt: skip
def test_without_the_token_there_is_nothing(guarded: TestClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("utf-8")}
    for address in ("/v1/indexes", "/v1/images/1", "/v1/images/1/thumbnail", "/metrics", "/v1/explain?id=1&found=1"):
        response = guarded.get(address, headers=headers)
        refused(response, 401)
        assert response.headers["www-authenticate"].startswith("Bearer")
    refused(guarded.post("/v1/search", json={"id": 1}, headers=headers), 401)
    for address in ("/", "/healthz", "/readyz", "/v1/openapi.json"):
        assert guarded.get(address, headers=headers).status_code == 200


def test_with_the_token_there_is_everything(guarded: TestClient) -> None:
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        assert guarded.post("/v1/search", json={"id": 1}, headers=headers).status_code == 200
        assert guarded.get("/metrics", headers=headers).status_code == 200


def test_pages_of_other_sites(client: TestClient, guarded: TestClient) -> None:
    asking = {"Origin": "https://bad.example", "Sec-Fetch-Site": "cross-site"}
    refused(client.post("/v1/search", json={"id": 1}, headers=asking), 403)
    assert "access-control-allow-origin" not in client.get("/v1/indexes", headers=asking).headers
    headers = {"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}
    good = guarded.post("/v1/search", json={"id": 1}, headers={**headers, "Origin": "https://good.example"})
    assert good.headers["access-control-allow-origin"] == "https://good.example"
    refused(guarded.post("/v1/search", json={"id": 1}, headers={**headers, "Origin": "https://bad.example"}), 403)
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = guarded.options("/v1/search", headers={**preflight, "Origin": "https://good.example"})
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    answer = guarded.options("/v1/search", headers={**preflight, "Origin": "https://bad.example"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_a_name_that_somebody_made_mean_this_machine(client: TestClient, host: str) -> None:
    refused(client.get("/v1/indexes", headers={"Host": host}), 421)


def test_what_is_refused_is_counted(client: TestClient, guarded: TestClient) -> None:
    refused(client.get("/nothing"), 404)
    refused(client.get("/v1/indexes", headers={"Host": "evil.example"}), 421)
    refused(client.post("/v1/search", headers={"Sec-Fetch-Site": "cross-site"}), 403)
    refused(client.post("/v1/search", content=b"?", headers={"Content-Type": "application/json"}), 400)
    refused(guarded.get("/v1/indexes"), 401)
    counted = client.get("/metrics").text
    for route, status in (("other", 404), ("other", 421), ("other", 403), ("/v1/search", 400)):
        assert f'tfvlad_requests_total{{route="{route}",status="{status}"}}' in counted
    counted = guarded.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'tfvlad_requests_total{route="other",status="401"}' in counted


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]", "[::1]:8000", "127.1.2.3"])
def test_this_machine_by_its_own_names(client: TestClient, host: str) -> None:
    assert client.get("/v1/indexes", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{"token": "short"}, {"token": "with spaces in between"}, {"token": "ümlaute-und-anderes"}, {"max_body": 0},
     {"places": -1}, {"cors_origins": ("*",)}, {"cors_origins": ("https://a.example/path",)},
     {"cors_origins": ("example.org",)}, {"answer_seconds": float("nan")}],
)  # fmt: skip
def test_settings_that_cannot_work(wrong: dict[str, Any]) -> None:
    with pytest.raises(tfvlad.ConfigError):
        ServiceSettings(**wrong)


def test_every_answer_has_its_headers(client: TestClient) -> None:
    for response in (client.get("/"), client.get("/healthz"), client.get("/nothing"), client.get("/v1/images/1")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "content-security-policy" in response.headers
    assert json.loads(client.get("/healthz").content) == {"status": "alive"}
    assert io.BytesIO(client.get("/v1/images/1").content).getbuffer().nbytes > 0
    assert Image.open(io.BytesIO(client.get("/v1/images/1").content)).size == (96, 72)
