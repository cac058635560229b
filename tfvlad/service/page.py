"""The page at ``/`` and the files that it consists of: read once, and nothing but them is given."""

from __future__ import annotations

import importlib.resources
import os

from starlette.responses import Response

from tfvlad.service.refusals import RefusalError

# The page runs its own scripts only, and asks no other host for anything.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PageFiles:
    """The files in ``static/``."""

    def __init__(self) -> None:
        folder = importlib.resources.files("tfvlad.service") / "static"
        self._files = {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in _MEDIA_TYPES}

    def answer(self, name: str) -> Response:
        """The answer that is a file.

        Raises:
          RefusalError: there is none of this name.
        """
        if name not in self._files:
            raise RefusalError(404, "there is nothing at this address")
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
        return Response(self._files[name], media_type=_MEDIA_TYPES[_suffix(name)], headers=headers)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]
