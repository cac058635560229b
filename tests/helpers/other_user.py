"""A process of another user, who may read an index and not write it.

It is asked line by line: ``look`` says what the index holds and finds, ``open`` opens it anew before that, and ``sync``
tries to write. Each answer is one line of JSON: the number of files, what the exact search and the graph find for one
content, as [name, score], or the error.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")


@contextlib.contextmanager
def shared_place() -> Iterator[Path]:
    """Gives a folder that every user may enter; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Path(place)


def become_other_user() -> None:
    """Call it when everything is imported: the other user may not be allowed to read the source."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


_READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def can_mount(folder: Path) -> bool:
    """Whether this process may mount folders read-only, for another process to see them so."""
    command = ["unshare", "--mount", "sh", "-c", _READ_ONLY, str(folder), "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


class OtherUser:
    """Asks a process of another user about an index.

    Args:
      index: the index folder.
      query: the content to search for.
      mounted: whether the process is of the same user instead, with the index mounted read-only.
    """

    def __init__(self, index: Path, query: bytes, mounted: bool = False) -> None:
        command = [sys.executable, __file__, str(index), query.decode()]
        if mounted:
            command = ["unshare", "--mount", "sh", "-c", _READ_ONLY, str(index), *command, "same user"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str = "look") -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def __enter__(self) -> OtherUser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()


def _answer() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from helpers.fake_encoder import FakeEncoder

    from tfvlad.errors import TfvladError
    from tfvlad.index.index import Index

    encoder: Any = FakeEncoder()
    queries = [encoder.describe(sys.argv[2].encode())]
    if sys.argv[3:] != ["same user"]:
        become_other_user()
    index: Index | None = None
    for line in sys.stdin:
        try:
            if line == "open\n" or index is None:
                if index is not None:
                    index.close()
                index = Index.open(sys.argv[1], encoder)
            if line == "sync\n":
                index.sync(os.path.dirname(sys.argv[1]) + "/photos")
            answer: dict[str, Any] = {"files": len(index)}
            for name, exact in (("exact", True), ("graph", False)):
                [hits] = index.search_descriptors(queries, 3, exact)
                answer[name] = [[os.path.basename(hit.path), round(hit.score, 5)] for hit in hits]
        except TfvladError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _answer()
