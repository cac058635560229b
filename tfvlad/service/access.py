"""Who may ask, and the headers of every answer: a layer around the application, before anything of a body is read."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfvlad.service.refusals import RefusalError

_OPEN = ("/healthz", "/readyz", "/v1/openapi.json")  # what needs no token, beside the page and what it consists of

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Access:
    """Checks the token, the host that was asked for, and where a request of a browser comes from."""

    def __init__(self, app: ASGIApp, token: str | None, cors_origins: tuple[str, ...], only_local: bool) -> None:
        """See the class.

        Args:
          app: the application.
          token: see `tfvlad.service.ServiceSettings`.
          cors_origins: likewise.
          only_local: whether the service can be reached from this machine only. It is then asked by the machine's own
            names only: a page that makes its own name mean this machine (DNS rebinding) reads nothing.
        """
        self._app = app
        self._token = None if token is None else token.encode()
        self._origins = cors_origins
        self._only_local = only_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        allowed_origin = headers.get("origin") in self._origins

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                of_answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    of_answer.setdefault(name, value)
                if allowed_origin:
                    of_answer["Cross-Origin-Resource-Policy"] = "cross-origin"
            await send(message)

        try:
            self._check(scope, headers, allowed_origin)
        except RefusalError as refusal:
            await refusal.response()(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _check(self, scope: Scope, headers: Headers, allowed_origin: bool) -> None:
        if self._only_local and self._token is None and not _is_local(headers.get("host", "")):
            raise RefusalError(421, "this service is asked as localhost; set the header Host so, or give it a token")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET" and not allowed_origin:
            raise RefusalError(403, "pages of other sites may not ask this service")
        if self._token is None or scope["method"] == "OPTIONS" or not _needs_token(scope["path"]):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if scheme.lower() != "bearer" or not is_right:
            raise RefusalError(401, "a token is needed: send the header Authorization: Bearer TOKEN")


def _needs_token(path: str) -> bool:
    return path not in _OPEN and (path.startswith("/v1/") or path == "/metrics")


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is this machine as it calls itself."""
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    """Whether a ``Host`` header, with or without a port, names this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    return is_loopback(name)
