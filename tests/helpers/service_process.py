"""A service in a process of its own, with an encoder that has no network; run as a script, it is that process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx


class ServiceProcess:
    """A running service.

    Attributes:
      port: where it listens, on the loopback address.
      url: its address.
      process: the process.
    """

    def __init__(
        self, indexes: Mapping[str, str], port: int = 0, command: list[str] | None = None, **settings: Any
    ) -> None:
        """Starts it, and waits until it is ready.

        Args:
          indexes: name -> folder.
          port: 0 takes any that is free.
          command: runs something else, which says its address at the end of its first line, before a blank.
          settings: of `tfvlad.service.ServiceSettings`.
        """
        own = [sys.executable, __file__, json.dumps({"indexes": dict(indexes), "port": port, "settings": settings})]
        self.process = subprocess.Popen(command or own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "http://" not in line:
            raise AssertionError(f"{line}{self.process.communicate()}")
        self.url = line[line.index("http://") :].split()[0].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])
        end = time.monotonic() + 60
        while httpx.get(f"{self.url}/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)

    def memory(self) -> int:
        """Bytes that the process has in memory; 0 where the system does not tell."""
        statistics = Path(f"/proc/{self.process.pid}/statm")
        return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statistics.exists() else 0

    def open_files(self) -> list[str]:
        """The names of the files that the process has open; none where the system does not tell."""
        entries = Path(f"/proc/{self.process.pid}/fd")
        return [os.readlink(entry) for entry in entries.iterdir() if entry.is_symlink()] if entries.exists() else []

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Ends it; gives its exit status and what it wrote on standard error."""
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def _run() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from helpers.fake_encoder import FakeEncoder

    from tfvlad.service.app import Service
    from tfvlad.service.server import listen, serve
    from tfvlad.service.settings import ServiceSettings

    given = json.loads(sys.argv[1])
    settings = dataclasses.replace(ServiceSettings(max_body=2**20), **given["settings"])
    with listen("127.0.0.1", given["port"]) as opened:
        port = opened.getsockname()[1]
        serve(
            lambda end: Service(given["indexes"], settings, FakeEncoder, on_failure=end),
            opened,
            lambda: print(f"at http://127.0.0.1:{port}/ now", flush=True),
        )


if __name__ == "__main__":
    _run()
