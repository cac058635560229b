"""Indexed images for a browser: the file as it was indexed, and a small copy. Nothing else can be asked for."""

from __future__ import annotations

import collections
import io
import threading
from typing import NamedTuple

from PIL import Image

from tfvlad.config import MAX_PIXELS
from tfvlad.images.pictures import open_picture
from tfvlad.service.answers import require_files
from tfvlad.service.named_indexes import OpenIndex

_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif", b"BM": "image/bmp"}
_QUALITY = 82


class Picture(NamedTuple):
    """An image file as it is sent.

    Attributes:
      data: the bytes.
      media_type: such as ``image/jpeg``.
    """

    data: bytes
    media_type: str


class IndexedImages:
    """Gives indexed images; threads share it."""

    def __init__(self, kept_bytes: int = 64 * 2**20, max_pixels: int = MAX_PIXELS) -> None:
        """See the class.

        Args:
          kept_bytes: of small copies, which are kept for the next time.
          max_pixels: an image that has more gets no small copy.
        """
        self._kept_bytes = kept_bytes
        self._max_pixels = max_pixels
        self._kept: collections.OrderedDict[tuple[str, int, int], Picture] = collections.OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def original(self, opened: OpenIndex, file: int) -> Picture:
        """The file as it was indexed; a format that browsers may not know becomes a JPEG.

        Raises:
          RefusalError: there is no such file.
          ImageError: it cannot be read, or has changed since it was indexed.
        """
        require_files(opened, [file])
        data = opened.index.content(file)
        for magic, media_type in _TYPES.items():
            if data.startswith(magic):
                return Picture(data, media_type)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return Picture(data, "image/webp")
        return self._small(data, None)

    def thumbnail(self, opened: OpenIndex, file: int, side: int) -> Picture:
        """A small copy, upright, without any data of the file but its pixels.

        Raises:
          RefusalError: there is no such file.
          ImageError: it cannot be read, or has changed since it was indexed.
        """
        key = opened.generation, require_files(opened, [file])[file].image, side
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        picture = self._small(opened.index.content(file), side)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = picture
                self._size += len(picture.data)
            while self._size > self._kept_bytes:
                self._size -= len(self._kept.popitem(last=False)[1].data)
        return picture

    def _small(self, data: bytes, side: int | None) -> Picture:
        picture = open_picture(data, "<indexed>", self._max_pixels, side).convert("RGBA")
        if side is not None:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        opaque = Image.new("RGB", picture.size, "white")
        opaque.paste(picture, mask=picture)
        file = io.BytesIO()
        opaque.save(file, "JPEG", quality=_QUALITY, progressive=True)
        return Picture(file.getvalue(), "image/jpeg")
