"""Search services for tests: in this process, with an encoder that has no network; and pictures to send to them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from helpers.fake_encoder import FakeEncoder
from PIL import Image
from starlette.testclient import TestClient

from tfvlad.service.app import Service
from tfvlad.service.settings import ServiceSettings


def picture(seed: int, size: tuple[int, int] = (96, 72), kind: str = "JPEG") -> bytes:
    """Coloured blots as an image file."""
    blots = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8))
    file = io.BytesIO()
    blots.resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def settings(**changes: Any) -> ServiceSettings:
    """Settings with small limits, which tests reach."""
    return dataclasses.replace(ServiceSettings(max_body=2**20, body_seconds=2.0, answer_seconds=20.0), **changes)


@contextlib.contextmanager
def asked(
    indexes: Mapping[str, str],
    settings: ServiceSettings | None = None,
    encoder: Callable[[], Any] = FakeEncoder,
    ready: bool = True,
    **headers: str,
) -> Iterator[TestClient]:
    """Runs a service in this process, and gives what asks it.

    Args:
      indexes: name -> folder.
      settings: of the service.
      encoder: makes the encoder.
      ready: whether to wait until the service is ready.
      headers: of every request.
    """
    service = Service(indexes, settings, encoder)
    with TestClient(service.app, "http://localhost", headers=headers) as client:
        if ready:
            wait_until_ready(client)
        yield client


def wait_until_ready(client: Any, seconds: float = 20.0) -> None:
    """Waits until a service says that it is ready."""
    end = time.monotonic() + seconds
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < end, client.get("/readyz").text
        time.sleep(0.02)
