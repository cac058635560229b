"""What a service allows its clients: frozen settings, checked when they are made."""

from __future__ import annotations

import dataclasses

from tfvlad.errors import ConfigError

MOST_HITS = 1000  # that a request may ask for
MOST_VERIFIED = 500
MOST_EXPANDED = 100
SIDES = (240, 480, 960)  # pixels of the longest side of an image's small copies

_SHORTEST_TOKEN = 16  # characters


@dataclasses.dataclass(frozen=True)
class ServiceSettings:
    """What a service allows its clients.

    Attributes:
      token: who asks must send it as ``Authorization: Bearer TOKEN``; None lets everybody ask.
      cors_origins: origins, such as ``https://example.org``, whose pages may ask from a browser.
      max_body: bytes of a request, at most.
      max_bodies: bytes of all requests that are being received or worked on, at most.
      max_pixels: of a picture, at most; its header is looked at before it is decoded. None is the encoder's own limit.
      search: the URL of the engine that the indexes are searched on, see `tfvlad.Index.open`; None is hnswlib.
      places: requests that are worked on or wait, at most; one client has a quarter of them.
      threads: requests that are worked on at once; those that wait for the encoder are encoded together.
      body_seconds: in which a request must have arrived.
      answer_seconds: in which it is answered, or refused.
    """

    token: str | None = None
    cors_origins: tuple[str, ...] = ()
    max_body: int = 20 * 2**20
    max_bodies: int = 256 * 2**20
    max_pixels: int | None = None
    search: str | None = None
    places: int = 256
    threads: int = 64
    body_seconds: float = 30.0
    answer_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("max_body", "max_bodies", "places", "threads", "body_seconds", "answer_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.token is not None and not _is_token(self.token):
            raise ConfigError(f"a token must be {_SHORTEST_TOKEN} or more printable ASCII characters without spaces")
        for origin in self.cors_origins:
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or not set(host).isdisjoint("/*, "):
                raise ConfigError(f"an origin must be like https://example.org, got {origin!r}")


def _is_token(text: str) -> bool:
    return len(text) >= _SHORTEST_TOKEN and text.isascii() and text.isprintable() and " " not in text
