"""What the crash harness kills: making an index, synchronising one, saving its graph, replacing an encoder.

Each scenario runs in a process of its own. Before an encoding is used, and after a batch is committed, one line is
written to a log that outlives the process.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from helpers.fake_encoder import FakeEncoder
from numpy.typing import NDArray

from tfvlad.config import EncoderConfig
from tfvlad.index import _sync
from tfvlad.index.index import Index

FILES = 300
CELLS = 20  # whose local features are kept, where they are added
VIEWS = 4  # that each image gets, where they are added
_TURN = r"turn \d+$"  # behind the content of a picture that is turned
_ENCODING_SECONDS = 0.0005


class LoggingEncoder(FakeEncoder):
    """Tells the log what it encodes, and takes a little time for it."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def describe(self, content: bytes) -> NDArray[np.float32]:
        append(self._log, f"encoded {re.sub(_TURN, '', content.decode())}")
        time.sleep(_ENCODING_SECONDS)
        return super().describe(content)


def append(log: Path, line: str) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def prepare(place: Path) -> None:
    """Makes ``photos``, an index ``before`` of an earlier state of it, and two encoders ``old`` and ``new``.

    The index ``plain`` is of the same earlier state, and keeps no local features.

    Of 300 files, 200 are indexed; then 100 come, 40 go, 20 change, 20 move; some are copies, some no images.
    """
    sys.modules["tfvlad.encoding.encoder"] = SimpleNamespace(Encoder=FakeEncoder)  # type: ignore[assignment]
    photos = place / "photos"
    photos.mkdir()
    for i in range(200):
        _write(photos, i, f"content {i - i % 10 if i % 10 == 1 else i}" if i % 25 else f"bad {i}")
    with Index.create(place / "before", FakeEncoder()) as index:
        index.sync(photos, encoder=FakeEncoder())
    with Index.create(place / "plain", FakeEncoder(), local_features=0) as index:
        index.sync(photos, encoder=FakeEncoder())
    for i in range(40):
        (photos / f"{i:03}.jpg").unlink()
    for i in range(40, 60):
        _write(photos, i, f"changed {i}")
    (photos / "sub").mkdir()
    for i in range(60, 80):
        (photos / f"{i:03}.jpg").rename(photos / "sub" / f"{i:03}.jpg")
    for i in range(200, FILES):
        _write(photos, i, f"content {i - i % 10 if i % 10 == 1 else i}" if i % 25 else f"bad {i}")
    shutil.copytree(place / "before", place / "unsaved")
    with Index.open(place / "unsaved", FakeEncoder()) as index:  # the catalog is ahead of its graph
        index._graphs.save = lambda: None  # type: ignore[method-assign]
        index.sync(photos, encoder=FakeEncoder())
    for name, seed in (("old", 0), ("new", 1)):
        save_encoder(place / name, seed)


def start(scenario: str, place: Path, target: Path) -> None:
    """Lays out what the scenario finds."""
    source = {"sync": "before", "views": "before", "complete": "plain", "graph": "unsaved", "encoder": "old"}.get(
        scenario
    )
    if source is not None:
        shutil.copytree(place / source, target)


def run(scenario: str, place: Path, target: Path, log: Path) -> None:
    """Does what is to be killed."""
    sys.modules["tfvlad.encoding.encoder"] = SimpleNamespace(Encoder=FakeEncoder)  # type: ignore[assignment]
    _log_commits(log)
    SCENARIOS[scenario](place, target, log)


def save_encoder(target: Path, seed: int) -> None:
    """Writes an encoder's folder, with 100 kB in the place of a network."""
    from tfvlad.encoding.files import write_encoder
    from tfvlad.encoding.whitening import Whitening

    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.normal(size=shape).astype(np.float32)

    def save(path: str) -> None:
        with open(path, "wb", buffering=0) as file:
            for _ in range(10):
                file.write(generator.bytes(10_000))

    config = EncoderConfig(clusters=4, dim=3)
    whitening = Whitening(normal(32), normal(3, 32), np.ones(3, np.float32))
    network: Any = SimpleNamespace(save=save)
    write_encoder(target, config, normal(4, 8), whitening, network, f"encoder {seed}")


def _synchronise(place: Path, target: Path, log: Path) -> None:
    encoder = LoggingEncoder(log)
    if not target.exists():
        Index.create(target, encoder).close()  # type: ignore[arg-type]
    with Index.open(target, encoder) as index:  # type: ignore[arg-type]
        index.sync(place / "photos")


def _complete(place: Path, target: Path, log: Path) -> None:
    """Brings an index up to date, and adds local features to what is in it."""
    with Index.open(target, LoggingEncoder(log)) as index:  # type: ignore[arg-type]
        index.sync(place / "photos", local_features=CELLS)


def _add_views(place: Path, target: Path, log: Path) -> None:
    """Brings an index up to date, and adds views to what is in it."""
    with Index.open(target, LoggingEncoder(log)) as index:  # type: ignore[arg-type]
        index.sync(place / "photos", views=f"rotations:{VIEWS}")


def _save_graph(place: Path, target: Path, log: Path) -> None:
    with Index.open(target, LoggingEncoder(log)) as index, index._catalog.sole_writer():  # type: ignore[arg-type]
        index._graphs.save()


def _replace_encoder(place: Path, target: Path, log: Path) -> None:
    save_encoder(target, 1)


SCENARIOS: dict[str, Callable[[Path, Path, Path], None]] = {
    "create": _synchronise,
    "sync": _synchronise,
    "complete": _complete,
    "views": _add_views,
    "graph": _save_graph,
    "encoder": _replace_encoder,
}


def _log_commits(log: Path) -> None:
    commit = _sync._RootSync._commit

    def logged(self: Any) -> None:
        paths = [work.path for work in self._batch]
        commit(self)
        for path in paths:
            append(log, f"committed {path}")

    _sync._RootSync._commit = logged  # type: ignore[method-assign]


def _write(photos: Path, number: int, content: str) -> None:
    path = photos / f"{number:03}.jpg"
    path.write_text(content)
    os.utime(path, ns=(0, 10**18 + len(content) * 10**9))
