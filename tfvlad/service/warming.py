"""A first search with a picture of its own, so that no client waits for what is done once: graphs, compiled kernels."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from tfvlad.service.answers import answer_search
from tfvlad.service.named_indexes import OpenIndex
from tfvlad.service.search_request import SearchRequest


def warm_up(opened: OpenIndex) -> None:
    """Lets an index search once in each way."""
    picture = _drawn()
    for quick in (True, False):
        answer_search(opened, "", SearchRequest(picture, quick=quick))


def _drawn() -> bytes:
    """A small picture with some structure, as a JPEG."""
    picture = Image.new("RGB", (96, 64), "white")
    draw = ImageDraw.Draw(picture)
    for step in range(8):
        draw.ellipse((step * 10, step * 5, step * 10 + 20, step * 5 + 25), fill=(step * 30, 80, 255 - step * 30))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()
