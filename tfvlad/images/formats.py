"""The formats of image files: their suffixes, how their bytes are recognised, and what decodes them.

This is the one list. JPEG, PNG, GIF, BMP and WebP are decoded inside TensorFlow's graph, all others by a library before
it, see `tfvlad.images.libraries`.
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from tfvlad.errors import PassingImageError

NOT_AN_IMAGE = "not an image in a known format"


class Format(NamedTuple):
    """One format, or several that are decoded in the same way.

    Attributes:
      name: for messages.
      suffixes: of its files, in lower case.
      pillow: Pillow's name of it; "" where Pillow does not know it.
      module: the module that decodes it, beside Pillow; "" where none is needed.
      install: what pip installs to have that module.
    """

    name: str
    suffixes: tuple[str, ...]
    pillow: str = ""
    module: str = ""
    install: str = ""

    @property
    def in_graph(self) -> bool:
        """Whether TensorFlow's graph decodes it."""
        return self in IN_GRAPH

    def require_library(self, name: str) -> None:
        """Checks that what decodes it is installed.

        Raises:
          PassingImageError: it is not; says what to install. `name` is the error's path.
        """
        if self.module and importlib.util.find_spec(self.module) is None:
            raise PassingImageError(name, f"{self.name} files need {self.module}: pip install '{self.install}'")


JPEG = Format("JPEG", (".jpeg", ".jpg", ".jpe", ".jfif"), "JPEG")
PNG = Format("PNG", (".png",), "PNG")
GIF = Format("GIF", (".gif",), "GIF")
BMP = Format("BMP", (".bmp",), "BMP")
WEBP = Format("WebP", (".webp",), "WEBP")
IN_GRAPH = (JPEG, PNG, GIF, BMP, WEBP)  # in the order of `tfvlad.images._headers.FORMATS`

HEIC = Format("HEIC", (".heic", ".heif", ".hif"), "HEIF", "pillow_heif", "pillow-heif")
AVIF = Format("AVIF", (".avif",), "AVIF")
TIFF = Format("TIFF", (".tif", ".tiff"), "TIFF")
JPEG_2000 = Format("JPEG 2000", (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"), "JPEG2000")
JPEG_XL = Format("JPEG XL", (".jxl",), "JXL", "pillow_jxl", "tfvlad[jxl]")
RAW = Format("RAW", (".dng", ".cr2", ".cr3", ".nef", ".arw"), "", "rawpy", "tfvlad[raw]")

FORMATS = (*IN_GRAPH, HEIC, AVIF, TIFF, JPEG_2000, JPEG_XL, RAW)
SUFFIXES = tuple(sorted(itertools.chain.from_iterable(form.suffixes for form in FORMATS)))

_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_MOST_BRANDS = 64  # of a file; real ones have some five

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_MOST_DIRECTORIES = 32
_MOST_TAGS = 1024  # of a directory; real ones have some dozens
_SUB_DIRECTORIES, _PHOTOMETRIC, _DNG_VERSION = 330, 262, 50706
_ORDER: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
_SENSOR = (32803, 34892)  # photometric interpretations: a sensor's colour filters, and what becomes of them, linear


def recognise(data: bytes) -> Format | None:
    """Recognises an image by its bytes, whatever its file is called; None where it is none, or of another format."""
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if data.startswith(b"GIF8"):
        return GIF
    if data.startswith(b"BM"):
        return BMP
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data.startswith(_TIFF_STARTS):
        return RAW if _is_raw(data) else TIFF
    if data.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return JPEG_2000
    if data.startswith((b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")):
        return JPEG_XL
    return None


def _of_brands(data: bytes) -> Format | None:
    """Which of the formats it is that share the boxes of ISO/IEC 14496-12; films do so, too."""
    length = min(int.from_bytes(data[:4], "big"), 16 + 4 * _MOST_BRANDS)
    major = data[8:12]
    if major == b"crx ":  # Canon's CR3
        return RAW
    brands = {major, *(data[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF_BRANDS and major not in _HEIC_BRANDS - {b"mif1", b"msf1"}:
        return AVIF
    return HEIC if brands & _HEIC_BRANDS else None


def _is_raw(data: bytes) -> bool:
    """Whether a TIFF is a camera's: DNG, CR2, NEF and ARW have a directory that describes the sensor's pixels."""
    if data[8:10] == b"CR":
        return True
    return any(
        _DNG_VERSION in tags or (tags.get(_PHOTOMETRIC) or (0,))[0] in _SENSOR for tags in _tiff_directories(data)
    )


def _tiff_directories(data: bytes) -> Iterator[dict[int, tuple[int, ...]]]:
    """The directories of a TIFF, and those inside of them: tag -> numbers, for tags of 2 or 4 bytes a number."""
    order = "<" if data[:2] == b"II" else ">"
    if data[:4] not in _TIFF_STARTS[:2]:
        return
    waiting, seen = [*_numbers(data, 4, order + "I", 1)], set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        if (at := waiting.pop(0)) in seen or not 8 <= at < len(data):
            continue
        seen.add(at)
        (count,) = _numbers(data, at, order + "H", 1) or (0,)
        following = _numbers(data, at + 2 + 12 * count, order + "I", 1)
        count = min(count, _MOST_TAGS)
        tags: dict[int, tuple[int, ...]] = {}
        for entry in range(at + 2, min(at + 2 + 12 * count, len(data) - 11), 12):
            tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
            code = {1: "B", 3: "H", 4: "I", 13: "I"}.get(kind)
            if code is not None:
                size = struct.calcsize(order + code)
                place = entry + 8 if length * size <= 4 else int.from_bytes(data[entry + 8 : entry + 12], _ORDER[order])
                tags[tag] = _numbers(data, place, order + code, min(length, _MOST_DIRECTORIES))
        yield tags
        waiting += tags.get(_SUB_DIRECTORIES, ())
        waiting += following


def _numbers(data: bytes, at: int, form: str, count: int) -> tuple[int, ...]:
    """So many numbers at a place; as many as there are."""
    size = struct.calcsize(form)
    there = max(0, min(count, (len(data) - at) // size))
    return struct.unpack_from(f"{form[0]}{there}{form[1]}", data, at) if there else ()
