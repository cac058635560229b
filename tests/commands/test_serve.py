"""`tfvlad serve`, as a process: what it says, how it ends, and one line for each mistake."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from helpers.command_results import Command, refusal

pytest.importorskip("starlette", reason="needs the extra service")

from helpers.service_process import ServiceProcess


def test_a_photograph_is_found(index: Path, queries: Path, tmp_path: Path) -> None:
    token = tmp_path / "token.txt"
    token.write_text("0123456789abcdef\n")
    command = [sys.executable, "-m", "tfvlad", "serve", f"--index=covers={index}", "--port=0", f"--token_file={token}"]
    with ServiceProcess({}, command=command) as service:
        headers = {"Authorization": "Bearer 0123456789abcdef"}
        with open(queries / "003.jpg", "rb") as file:
            response = httpx.post(f"{service.url}/v1/search", files={"file": file}, headers=headers, timeout=60)
        assert response.json()["hits"][0]["path"] == "photos/003.jpg"
        assert response.json()["index"] == "covers"
        assert httpx.get(f"{service.url}/v1/indexes").status_code == 401
        assert service.end() == (0, "")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("", "--index is needed"),
        ("--index={tmp}/nowhere", "{tmp}/nowhere: is not an index"),
        ("--index={index} --index=other={index} --index={index}", "--index: two are called index; give one as NAME="),
        ("--index=a={index} --port=70000", "--port=70000: 70000 is not an integer in the range [0, 65535]"),
        ("--index=={index}", "--index must be a folder, or NAME=FOLDER"),
        ("--index={index} --token_file={tmp}/nowhere", "{tmp}/nowhere: No such file or directory"),
        ("--index={index} --token_file={tmp}/short", "a token must be 16 or more printable ASCII characters"),
        ("--index={index} --token_file={tmp}/binary", "--token_file={tmp}/binary: not a file of one token"),
        ("--index={index} --cors_origin=*", "an origin must be like https://example.org, got '*'"),
        ("--index={index} --max_body=0", "--max_body=0: 0 is not an integer in the range [1, 1024]"),
        ("--index={index} --queue=0", "--queue=0: 0 is not an integer in the range [1, 100000]"),
        ("--index={index} --port={busy}", "--host=127.0.0.1 --port={busy}: Address already in use"),
        ("--index={index} --host=256.0.0.1", "--host=256.0.0.1 --port=8000: Name or service not known"),
        ("--index={index} more", "'more' was not expected"),
    ],
)
def test_each_mistake_is_one_line(command: Command, index: Path, tmp_path: Path, line: str, answer: str) -> None:
    (tmp_path / "short").write_text("short")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 20)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"index": index, "tmp": tmp_path, "busy": taken.getsockname()[1]}
        said = refusal(command("serve", *line.format(**names).split()))
    assert said.startswith("tfvlad serve: ")
    assert answer.format(**names) in said


def test_an_encoder_that_is_damaged_ends_it(index: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(index, tmp_path / "i")
    (tmp_path / "i" / "encoder" / "encoder.json").write_text(json.dumps({"format": 99}))
    command = [sys.executable, "-m", "tfvlad", "serve", "--index", str(tmp_path / "i"), "--port=0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("tfvlad serve: ")
    assert "Traceback" not in ended.stderr
