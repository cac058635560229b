"""Searches over HTTP find what the index finds, and say so without telling anything of the machine."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_encoder import FakeEncoder
from helpers.services import asked, picture, settings
from PIL import Image
from starlette.testclient import TestClient

from tfvlad.index.index import Index

KEYS = {"id", "path", "score", "inliers", "verdict", "probability", "box", "view", "query_view"}


def form(client: TestClient, data: bytes, **fields: Any) -> Any:
    response = client.post("/v1/search", files={"file": ("query.jpg", data)}, data=fields)
    assert response.status_code == 200, response.text
    return response.json()


def sent(client: TestClient, **fields: Any) -> Any:
    response = client.post("/v1/search", json=fields)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_file_and_base64_and_an_id_find_the_same(client: TestClient) -> None:
    data = picture(7)
    answers = [
        form(client, data, k=3),
        sent(client, image=base64.b64encode(data).decode(), k=3),
        sent(client, id=8, k=3),  # ids are in the order of the names, from 1 on
    ]
    for answer in answers:
        assert [hit["path"] for hit in answer["hits"]][:1] == ["pictures/07.jpg"]
        assert len(answer["hits"]) == 3
        assert answer["index"] == "pictures"
        assert answer["answered"] is True
        for hit in answer["hits"]:
            assert set(hit) == KEYS
        first = answer["hits"][0]
        assert (first["id"], first["verdict"]) == (8, "same")
        assert first["score"] == pytest.approx(1, abs=1e-6)
        assert isinstance(first["inliers"], int)


def test_hits_are_those_of_the_index(client: TestClient, served_index: Path) -> None:
    data = picture(1000)
    with Index.open(served_index, FakeEncoder()) as index:
        for settings_, fields in [
            ({}, {}),
            ({"verify": 0}, {"verify": 0}),
            ({"verify": 5, "expand": 2}, {"verify": 5, "expand": 2}),
            ({"verify": 0, "query_views": "whole"}, {"quick": "true"}),
        ]:
            [expected] = index.search([data], 10, **settings_)  # type: ignore[arg-type]
            found = form(client, data, k=10, **fields)["hits"]
            assert [(hit["id"], hit["inliers"], hit["verdict"]) for hit in found] == [
                (hit.id, hit.inliers, hit.verdict) for hit in expected
            ]


def test_what_is_not_verified_has_no_verdict(client: TestClient) -> None:
    answer = form(client, picture(1000), verify=0)
    assert answer["answered"] is None
    assert {(hit["verdict"], hit["inliers"], hit["probability"]) for hit in answer["hits"]} == {(None, None, None)}


def test_a_box_is_a_part_of_the_upright_picture(pictures: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    seen: list[Any] = []
    describe = encoder.describe_views

    def noting(sources: Any, *arguments: Any, **others: Any) -> Any:
        sources = list(sources)
        seen.extend(source.shape for source in sources if not isinstance(source, bytes))
        return describe([source if isinstance(source, bytes) else source.tobytes() for source in sources], *arguments)

    encoder.describe_views = noting  # type: ignore[method-assign]
    with Index.create(tmp_path / "i", encoder) as index:
        index.sync(pictures)
    lying = Image.open(io.BytesIO(picture(3, (90, 60))))
    exif = lying.getexif()
    exif[0x0112] = 6  # turned by a quarter: 60 x 90 upright
    file = io.BytesIO()
    lying.save(file, "JPEG", exif=exif)
    with asked({"i": str(tmp_path / "i")}, settings(), lambda: encoder) as client:
        form(client, file.getvalue(), box="10,20,40,60")
        assert seen == [(60, 40, 3)]
        sent(client, id=1, box=[0, 0, 30, 20])
        assert seen[1:] == [(20, 30, 3)]


def test_several_indexes_go_by_their_names(served_index: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "one.jpg").write_bytes(picture(99))
    with Index.create(tmp_path / "i", FakeEncoder()) as index:
        index.sync(tmp_path / "others")
    with asked({"pictures": str(served_index), "others": str(tmp_path / "i")}) as client:
        listed = client.get("/v1/indexes").json()["indexes"]
        assert [(one["name"], one["images"], one["ready"]) for one in listed] == [
            ("pictures", 30, True),
            ("others", 1, True),
        ]
        assert form(client, picture(99))["index"] == "pictures"
        found = form(client, picture(99), index="others")
        assert [hit["path"] for hit in found["hits"]] == ["others/one.jpg"]
        assert client.post("/v1/search", json={"id": 1, "index": "none"}).status_code == 404


def test_a_path_starts_at_the_folder_and_names_are_text(tmp_path: Path) -> None:
    folder = tmp_path / "secret place" / "photos" / "2024"
    folder.mkdir(parents=True)
    (folder / "ä & <b>.jpg").write_bytes(picture(1))
    (folder.parent / b"\xff.jpg".decode("utf-8", "surrogateescape")).write_bytes(picture(2))
    with Index.create(tmp_path / "i", FakeEncoder()) as index:
        index.sync(folder.parent)
    with asked({"i": str(tmp_path / "i")}) as client:
        response = client.post("/v1/search", json={"id": 1})
        assert {hit["path"] for hit in response.json()["hits"]} == {"photos/2024/ä & <b>.jpg", "photos/\ufffd.jpg"}
        assert "secret" not in response.text


def test_images_are_given_by_id_only(client: TestClient, pictures: Path) -> None:
    original = client.get("/v1/images/8")
    assert original.content == (pictures / "07.jpg").read_bytes()
    assert original.headers["content-type"] == "image/jpeg"
    assert "sandbox" in original.headers["content-security-policy"]
    for side in (240, 480, 960):
        small = client.get("/v1/images/8/thumbnail", params={"side": side})
        with Image.open(io.BytesIO(small.content)) as opened:
            assert (opened.format, opened.size) == ("JPEG", (96, 72))
    for path in ("0", "31", "99999999999999999999", "..%2f..%2fetc%2fpasswd", "-1", "1.5", "%00"):
        response = client.get(f"/v1/images/{path}")
        assert (response.status_code, list(response.json())) == (404, ["error"])
    assert client.get("/v1/images/8/thumbnail", params={"side": 4000}).status_code == 400


def test_a_file_that_has_changed_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(picture(ord(name)))
    (tmp_path / "secret.jpg").write_bytes(picture(5))
    with Index.create(tmp_path / "i", FakeEncoder()) as index:
        index.sync(tmp_path / "photos")
    (tmp_path / "photos" / "a.jpg").write_bytes(picture(100))
    (tmp_path / "photos" / "b.jpg").unlink()
    (tmp_path / "photos" / "b.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "photos" / "c.jpg").unlink()
    with asked({"i": str(tmp_path / "i")}) as client:
        for file, reason in ((1, "has changed"), (2, "has changed"), (3, "No such file")):
            for address in (f"/v1/images/{file}", f"/v1/images/{file}/thumbnail"):
                response = client.get(address)
                assert response.status_code == 404
                assert reason in response.json()["error"]
                assert str(tmp_path) not in response.text


def test_why_an_image_is_found(client: TestClient) -> None:
    data = picture(7)
    found = form(client, data)["hits"][0]
    fields = {"found": found["id"], "view": found["view"], "query_view": found["query_view"]}
    told = client.post("/v1/explain", files={"file": data}, data=fields).json()
    assert (told["id"], told["path"], told["verdict"]) == (8, "pictures/07.jpg", "same")
    assert told["inliers"] == len(told["cells"]) > 0
    assert (told["query_size"], told["found_size"]) == ([96, 72], [96, 72])
    assert len(told["query_outline"]) == 4
    by_id = client.get("/v1/explain", params={"id": 8, "found": 8}).json()
    assert (by_id["verdict"], by_id["found_outline"]) == ("same", told["found_outline"])
    drawn = client.get("/v1/explain", params={"id": 8, "found": 9}, headers={"Accept": "image/png"})
    assert drawn.content.startswith(b"\x89PNG")
    assert client.get("/v1/explain", params={"id": 8}).status_code == 400
    assert client.get("/v1/explain", params={"id": 8, "found": 1000}).status_code == 404


def test_an_indexed_image_is_searched_for_before_the_encoder_is_there(served_index: Path) -> None:
    import threading

    may_load = threading.Event()

    def slow() -> FakeEncoder:
        may_load.wait(20)
        return FakeEncoder()

    with asked({"i": str(served_index)}, settings(), slow, ready=False) as client:
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, "Retry-After" in ready.headers) == (503, True)
        assert sent(client, id=8)["hits"][0]["id"] == 8
        early = client.post("/v1/search", files={"file": picture(7)})
        assert (early.status_code, "Retry-After" in early.headers) == (503, True)
        assert "still being loaded" in early.json()["error"]
        may_load.set()
        from helpers.services import wait_until_ready

        wait_until_ready(client)
        assert form(client, picture(7))["hits"][0]["id"] == 8


def test_the_page_and_its_files(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    for name in ("nothing.js", "..%2fapp.py", "%2e%2e/app.py", "__init__.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_metrics_count_requests_and_batches(client: TestClient) -> None:
    form(client, picture(1))
    text = client.get("/metrics").text
    assert 'tfvlad_requests_total{route="/v1/search",status="200"}' in text
    assert "tfvlad_encoder_batch_images_count" in text
    assert "tfvlad_ready 1.0" in text
    assert json.dumps(str(Path.cwd()))[1:-1] not in text
