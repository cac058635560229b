"""Indexes that other processes change while they are served: every answer is of one index, and none is wrong."""

from __future__ import annotations

import collections
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from helpers.fake_encoder import FakeEncoder
from helpers.service_process import ServiceProcess
from helpers.services import asked, picture

from tfvlad.index.index import Index

FILES = 20
TURNS = int(os.environ.get("TFVLAD_TURNS", "8"))  # how often an index is replaced; 200 takes two minutes


def folder_of(place: Path, name: str, first: int) -> Path:
    folder = place / name
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}.jpg").write_bytes(picture(first + number))
    return folder


def make(path: Path, folder: Path) -> None:
    with Index.create(path, FakeEncoder()) as index:
        index.sync(folder)


@contextmanager
def load(url: str, threads: int = 4) -> Iterator[list[tuple[int, Any]]]:
    """Searches all the time, by files and ids; gives what was sent and answered: (number of the picture, answer)."""
    answers: list[tuple[int, Any]] = []
    ending = threading.Event()

    def ask(offset: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            number = offset
            while not ending.is_set():
                number += threads
                data = picture(number % (2 * FILES))
                try:
                    answers.append((number % (2 * FILES), client.post("/v1/search", files={"file": data})))
                except httpx.TransportError:
                    time.sleep(0.05)  # it was killed

    asking = [threading.Thread(target=ask, args=(offset,)) for offset in range(threads)]
    for thread in asking:
        thread.start()
    try:
        yield answers
    finally:
        ending.set()
        for thread in asking:
            thread.join()


def check(answers: list[tuple[int, Any]], allowed: set[int] = frozenset({200})) -> collections.Counter[str]:  # type: ignore[assignment]
    """Checks every answer; gives how many were of each folder."""
    folders: collections.Counter[str] = collections.Counter()
    of_generation: dict[str, str] = {}
    for number, response in answers:
        assert response.status_code in allowed, response.text
        if response.status_code != 200:
            continue
        answer = response.json()
        [folder] = {hit["path"].partition("/")[0] for hit in answer["hits"]}
        assert of_generation.setdefault(answer["generation"], folder) == folder
        right = f"{'a' if number < FILES else 'b'}/{number % FILES:02}.jpg"
        if right.startswith(folder):  # the picture is in the index that answered
            assert answer["hits"][0]["path"] == right
            assert answer["hits"][0]["verdict"] == "same"
        else:
            assert answer["hits"][0]["score"] < 0.999
        folders[folder] += 1
    return folders


def test_an_index_that_is_replaced_under_load(tmp_path: Path) -> None:
    a, b = folder_of(tmp_path, "a", 0), folder_of(tmp_path, "b", FILES)
    make(tmp_path / "a.index", a)
    make(tmp_path / "b.index", b)
    served = tmp_path / "served.index"
    shutil.copytree(tmp_path / "a.index", served)
    with ServiceProcess({"i": str(served)}) as service, load(service.url) as answers:
        time.sleep(0.5)
        for turn in range(TURNS):
            source = tmp_path / ("b.index" if turn % 2 == 0 else "a.index")
            shutil.copytree(source, tmp_path / "new.index")
            if turn < 4:
                os.rename(served, tmp_path / f"old{turn}")  # for a moment there is none
            else:
                shutil.rmtree(served)
            os.rename(tmp_path / "new.index", served)
            time.sleep(0.4)
        assert service.process.poll() is None
        held = service.open_files()
    folders = check(answers, {200, 503})
    assert min(folders["a"], folders["b"]) > 20
    assert sum(response.status_code == 503 for _, response in answers) < len(answers) / 4
    assert len([name for name in held if "old" in name or "deleted" in name]) < 12, held  # old ones are closed


def test_an_index_that_grows_and_shrinks_under_load(tmp_path: Path) -> None:
    a = folder_of(tmp_path, "a", 0)
    make(tmp_path / "i", a)
    with ServiceProcess({"i": str(tmp_path / "i")}) as service, load(service.url) as answers:
        for turn in range(4):
            for number in range(50):
                (a / f"new{number}.jpg").write_bytes(picture(1000 + number))
            with Index.open(tmp_path / "i", FakeEncoder()) as index:
                index.sync(a)
            [listed] = httpx.get(f"{service.url}/v1/indexes").json()["indexes"]
            assert listed["images"] == FILES + 50
            found = httpx.post(f"{service.url}/v1/search", files={"file": picture(1000 + turn)}).json()
            assert found["hits"][0]["path"] == f"a/new{turn}.jpg"
            for number in range(50):
                (a / f"new{number}.jpg").unlink()
            with Index.open(tmp_path / "i", FakeEncoder()) as index:
                index.sync(a)
            found = httpx.post(f"{service.url}/v1/search", files={"file": picture(1000 + turn)}).json()
            assert found["hits"][0]["score"] < 0.999
    assert check(answers)["a"] > 20


_GROW = """
import sys
sys.path.insert(0, sys.argv[1])
from helpers.fake_encoder import FakeEncoder
from helpers.services import picture
from pathlib import Path
from tfvlad.index.index import Index
place = Path(sys.argv[2])
with Index.open(place / "i", FakeEncoder()) as index:
    print("here", flush=True)
    turn = 0
    while True:
        turn += 1
        for number in range(30):
            (place / "a" / f"new{number}.jpg").write_bytes(picture(1000 + 100 * turn + number))
        index.sync(place / "a")
"""


def test_kill_9_of_the_service_and_of_a_writer(tmp_path: Path) -> None:
    """What is answered after it is what is answered before; the index is sound."""
    a = folder_of(tmp_path, "a", 0)
    make(tmp_path / "i", a)
    tests = str(Path(__file__).resolve().parents[1])
    service = ServiceProcess({"i": str(tmp_path / "i")})
    port = service.port
    try:
        with load(service.url) as answers:
            for _ in range(2):
                command = [sys.executable, "-c", _GROW, tests, str(tmp_path)]
                writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                assert writer.stdout is not None
                assert writer.stdout.readline() == "here\n"
                time.sleep(0.3)
                service.end(signal.SIGKILL)
                time.sleep(0.2)
                writer.kill()
                writer.communicate()
                service = ServiceProcess({"i": str(tmp_path / "i")}, port=port)
                time.sleep(0.5)
            assert httpx.get(f"{service.url}/readyz").status_code == 200
    finally:
        service.process.kill()
        service.process.communicate()
    assert check(answers, {200, 503})["a"] > 20  # 503 until the encoder is there again
    from tfvlad.index.soundness import check_index

    with Index.open(tmp_path / "i", FakeEncoder()) as index:
        assert all(one.sound for one in check_index(index))


def test_ids_of_another_index_mean_nothing(tmp_path: Path) -> None:
    make(tmp_path / "i", folder_of(tmp_path, "a", 0))
    make(tmp_path / "new", folder_of(tmp_path, "b", FILES))
    with asked({"i": str(tmp_path / "i")}) as client:
        before = client.post("/v1/search", json={"id": 1}).json()["generation"]
        addresses: list[Callable[[], Any]] = [
            lambda: client.get("/v1/images/1", params={"generation": before}),
            lambda: client.get("/v1/images/1/thumbnail", params={"generation": before}),
            lambda: client.get("/v1/explain", params={"id": 1, "found": 2, "generation": before}),
            lambda: client.post("/v1/search", json={"id": 1, "generation": before}),
        ]
        assert [ask().status_code for ask in addresses] == [200] * 4
        os.rename(tmp_path / "i", tmp_path / "old")
        gone = client.post("/v1/search", json={"id": 1})
        assert (gone.status_code, gone.json()) == (503, {"error": "the index i is not there at the moment"})
        assert client.get("/readyz").status_code == 503
        assert client.get("/v1/indexes").json()["indexes"][0]["images"] is None
        os.rename(tmp_path / "new", tmp_path / "i")
        assert [ask().status_code for ask in addresses] == [410] * 4
        assert client.post("/v1/search", json={"id": 1}).json()["hits"][0]["path"] == "b/00.jpg"


def test_an_index_of_another_encoder(tmp_path: Path) -> None:
    """Its encoder is loaded; until then, indexed images can be searched for."""
    make(tmp_path / "i", folder_of(tmp_path, "a", 0))
    with Index.create(tmp_path / "new", FakeEncoder(16, "e" * 64)) as index:
        index.sync(folder_of(tmp_path, "b", FILES))
    encoders = [FakeEncoder(), FakeEncoder(16, "e" * 64)]
    with asked({"i": str(tmp_path / "i")}, None, lambda: encoders.pop(0)) as client:
        os.rename(tmp_path / "i", tmp_path / "old")
        os.rename(tmp_path / "new", tmp_path / "i")
        assert client.post("/v1/search", json={"id": 1}).json()["hits"][0]["path"] == "b/00.jpg"
        from helpers.services import wait_until_ready

        wait_until_ready(client)
        found = client.post("/v1/search", files={"file": picture(FILES + 3)}).json()
        assert found["hits"][0]["path"] == "b/03.jpg"


def test_an_encoder_that_cannot_be_loaded_ends_the_service(tmp_path: Path) -> None:
    from tfvlad.errors import WeightsError
    from tfvlad.service.app import Service

    make(tmp_path / "i", folder_of(tmp_path, "a", 0))

    def fail() -> FakeEncoder:
        raise WeightsError("there are no weights")

    ended = threading.Event()
    service = Service({"i": str(tmp_path / "i")}, None, fail, on_failure=ended.set)
    from starlette.testclient import TestClient

    with TestClient(service.app, "http://localhost") as client:
        assert ended.wait(10)
        assert isinstance(service.failure, WeightsError)
        assert client.get("/readyz").status_code == 503
