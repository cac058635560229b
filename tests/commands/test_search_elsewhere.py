"""`tfvlad search` with queries that are no files, and with a running service that searches."""

from __future__ import annotations

import http.server
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.command_results import Command, refusal

from tfvlad.commands import _queries


@pytest.fixture
def web(queries: Path) -> Iterator[str]:
    """A web server: pictures, redirects to them and to nowhere, a file of any length, and what never ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if (
                target := {"/moved": "/003.jpg", "/round": "/round", "/file": "file:///etc/passwd"}.get(path)
            ) is not None:
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
            elif path == "/endless":
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(2**20))
                except OSError:
                    pass
            elif (queries / path[1:]).is_file():
                self.send_response(200)
                self.end_headers()
                self.wfile.write((queries / path[1:]).read_bytes())
            else:
                self.send_error(404)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_picture_on_standard_input(
    command: Command, index: Path, queries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = SimpleNamespace(buffer=io.BytesIO((queries / "003.jpg").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    told = json.loads(command("search", "--index", index, "-", "--format", "json").out)
    assert told[0]["query"] == "-"
    assert told[0]["hits"][0]["path"].endswith("003.jpg")


def test_standard_input_that_is_no_picture(command: Command, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"text")))
    assert "-: not an image in a known format" in refusal(command("search", "--index", index, "-"))
    monkeypatch.setattr(_queries, "_MOST_BYTES", 2**20)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bytes(2**21))))
    assert "-: more than 1 MiB" in refusal(command("search", "--index", index, "-"))


def test_pictures_on_the_web_are_fetched_where_that_is_asked_for(
    command: Command, index: Path, queries: Path, web: str, tmp_path: Path
) -> None:
    address = f"{web}/003.jpg?size=large"
    assert "--fetch gets it from there" in refusal(command("search", "--index", index, address))
    page = tmp_path / "page.html"
    found = command("search", "--index", index, "--fetch", address, f"{web}/moved", queries / "001.jpg", "--html", page)
    assert found.status == 0
    parts = [part.splitlines() for part in found.out.split("\n\n")]
    assert [part[0] for part in parts] == [address, f"{web}/moved", str(queries / "001.jpg")]
    assert [part[2].split()[-1][-7:] for part in parts] == ["003.jpg", "003.jpg", "001.jpg"]
    assert "003.jpg" in page.read_text()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nothing.jpg", "404 Not Found"),
        ("/round", "it leads to more than 5 other addresses"),
        ("/file", "it leads to what is not on the web"),
        ("/endless", "more than 1 MiB"),
    ],
)
def test_what_is_not_to_be_had_is_told_and_the_rest_is_searched_for(
    command: Command, index: Path, queries: Path, web: str, path: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_queries, "_MOST_BYTES", 2**20)
    found = command("search", "--index", index, "--fetch", web + path, queries / "001.jpg")
    assert found.status == 1
    assert f"{web}{path}: {reason}" in found.err
    assert found.out.splitlines()[2].endswith("001.jpg")
    assert reason in refusal(command("search", "--index", index, "--fetch", web + path))


def test_a_server_that_is_not_there(command: Command, index: Path) -> None:
    assert "Connection refused" in refusal(command("search", "--index", index, "--fetch", "http://127.0.0.1:1/a.jpg"))


@pytest.fixture(scope="module")
def service(verifying_index: Path, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a service of two indexes, and the file of its token."""
    pytest.importorskip("uvicorn", reason="needs the extra service")
    from helpers.service_process import ServiceProcess

    token = tmp_path_factory.mktemp("token") / "token.txt"
    token.write_text("0123456789abcdef\n")
    command = [sys.executable, "-m", "tfvlad", "serve", "--port=0", f"--token_file={token}"]
    command += [f"--index=first={verifying_index}", f"--index=second={index}"]
    with ServiceProcess({}, command=command) as running:
        yield running.url, token


def test_a_running_service_finds_the_same(
    command: Command, service: tuple[str, Path], verifying_index: Path, queries: Path
) -> None:
    url, token = service
    asked = ("search", queries / "003.jpg", queries / "005.jpg", "--k", 3, "--format", "json")
    there = json.loads(command(*asked, "--server", url, "--token_file", token).out)
    here = json.loads(command(*asked, "--index", verifying_index).out)
    for query in here:
        for hit in query["hits"]:
            hit["path"] = "photos/" + Path(hit["path"]).name
    assert there == here
    table = command("search", queries / "003.jpg", "--server", url, "--token_file", token, "--index", "second").out
    assert "verdict" not in table
    assert table.splitlines()[2].endswith("photos/003.jpg")


def test_a_running_service_is_given_boxes_and_depths(
    command: Command, service: tuple[str, Path], verifying_index: Path, queries: Path
) -> None:
    url, token = service
    asked = ("search", queries / "003.jpg", "--box", "5,6,60,50", "--verify", 2, "--expand", 1, "--format", "json")
    there, here = (
        json.loads(command(*asked, *where).out)
        for where in (("--server", url, "--token_file", token), ("--index", verifying_index))
    )
    assert [hit["score"] for hit in there[0]["hits"]] == [hit["score"] for hit in here[0]["hits"]]


def test_tensorflow_is_not_imported_for_it(service: tuple[str, Path], queries: Path) -> None:
    url, token = service
    script = f"""
import sys
from tfvlad.commands._main import run
assert run(["search", {str(queries / "003.jpg")!r}, "--server", {url!r}, "--token_file", {str(token)!r}]) == 0
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)


def test_each_mistake_with_a_service_is_one_line(
    command: Command, service: tuple[str, Path], queries: Path, index: Path, tmp_path: Path
) -> None:
    url, token = service
    (tmp_path / "text.jpg").write_text("no picture")
    query, right = queries / "003.jpg", ("--token_file", token)

    def said(*arguments: object) -> str:
        return refusal(command("search", *arguments))

    assert "a token is needed" in said(query, "--server", url)
    assert "there is no index of this name" in said(query, "--server", url, *right, "--index", "third")
    assert "text.jpg: the picture cannot be used" in said(tmp_path / "text.jpg", "--server", url, *right)
    assert "No such file" in said(tmp_path / "none.jpg", "--server", url, *right)
    assert "--exact cannot be combined with --server" in said(query, "--server", url, *right, "--exact")
    assert "a service's URL is like" in said(query, "--server", "localhost:8000")
    assert "Connection refused" in said(query, "--server", "http://127.0.0.1:1")
    assert "nothing at this address" in said(query, "--server", f"{url}/elsewhere", *right)
    assert "--index is needed" in said(query)
    partly = command("search", tmp_path / "text.jpg", query, "--server", url, *right)
    assert partly.status == 1
    assert next(line for line in partly.out.splitlines() if " 1 " in line).endswith("photos/003.jpg")
