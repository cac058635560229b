"""`tfvlad index` and `tfvlad search` with an encoder that is served elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.command_results import Command, document, done, refusal

pytest.importorskip("tensorflow_serving", reason="needs tensorflow-serving-api")

from helpers import model_servers, tiny_benchmarks
from helpers.exports import ExportWith


@pytest.fixture(scope="module", params=["grpc", "rest"])
def url(request: pytest.FixtureRequest, export_with: ExportWith) -> Iterator[str]:
    with getattr(model_servers, f"{request.param}_server")(
        model_servers.Model(export_with("stretch").signatures)
    ) as address:
        yield address


def test_an_index_is_made_searched_and_evaluated_over_the_wire(
    command: Command, url: str, photos: Path, queries: Path, broken: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    made = document(command("index", "--images", photos, "--index", index, "--encoder", url, "--format=json"))
    assert (made["added"], made["failed"]) == (8, [])
    query = photos / "003.jpg"
    found = document(command("search", "--index", index, "--encoder", url, "--k=1", "--format=json", query))
    assert [hit["path"] for hit in found[0]["hits"]] == [str(query)]
    assert found[0]["hits"][0]["verdict"] == "same"
    # A query with the bytes of an indexed image needs no encoder; any other does.
    assert document(command("search", "--index", index, "--k=1", "--format=json", query)) == found
    stranger = queries / "003.jpg"
    assert "give its URL as the encoder (--encoder)" in refusal(command("search", "--index", index, stranger))
    figures = document(command("evaluate", "--index", index, "--encoder", url, "--queries", queries, "--format=json"))
    assert figures["queries"] == 8
    failed = command("index", "--images", broken, "--index", index, "--encoder", url, "--format=json")
    assert failed.status == 1
    assert "cut.jpg" in failed.out


def test_an_index_made_here_is_searched_with_the_same_encoder_served(
    command: Command, url: str, export_with: ExportWith, photos: Path, tmp_path: Path
) -> None:
    export_with("stretch").encoder.save(tmp_path / "encoder")
    done(command("index", "--images", photos, "--index", tmp_path / "i", "--encoder", tmp_path / "encoder"))
    query = photos / "005.jpg"
    found = document(command("search", "--index", tmp_path / "i", "--encoder", url, "--k=1", "--format=json", query))
    assert found[0]["hits"][0]["path"] == str(query)


def test_the_box_of_a_query_is_cut_out_here(command: Command, url: str, photos: Path, tmp_path: Path) -> None:
    oxford = tiny_benchmarks.oxford(tmp_path / "oxford", sorted(photos.iterdir()))
    index = tmp_path / "index"
    done(command("index", "--images", oxford, "--index", index, "--encoder", url))
    line = ["evaluate", "--index", index, "--encoder", url, "--dataset", f"oxford5k:{oxford}", "--format=json"]
    assert document(command(*line))["recall_at"]["1"] == 1  # the image that shows what is in the box
    assert document(command(*line, "--noquery_boxes"))["recall_at"]["1"] == 0


def test_mistakes_are_one_line(command: Command, url: str, index: Path, photos: Path, tmp_path: Path) -> None:
    search = ["search", "--index", index, photos / "000.jpg"]
    assert "was made with the encoder" in refusal(command(*search, "--encoder", url))
    other = url.replace("covers", "others")
    assert "others" in refusal(command(*search, "--encoder", other))
    assert "is not the URL of a served encoder" in refusal(command(*search, "--encoder", "ftp://host/model"))
    assert "max_pixels is what it was exported with" in refusal(command(*search, "--encoder", url, "--max_pixels=9"))
    made = ["index", "--images", photos, "--index", tmp_path / "new"]
    assert "others" in refusal(command(*made, "--encoder", other))
    assert not (tmp_path / "new").exists()


def test_a_server_that_is_down_is_one_line(command: Command, index: Path, photos: Path) -> None:
    with socket.socket() as reserved:  # bound, and not listening
        reserved.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{reserved.getsockname()[1]}/covers"
        said = refusal(command("search", "--index", index, "--encoder", address, photos / "000.jpg"))
    assert said.startswith(f"tfvlad search: {address}: UNAVAILABLE: ")
