"""Colour profiles (ICC) inside JPEG, PNG and WebP files: where they are, and whether they change what is seen."""

from __future__ import annotations

import functools
import zlib

from tfvlad.errors import ImageError, PassingImageError
from tfvlad.images import _decoding_processes
from tfvlad.images.formats import JPEG, PNG, WEBP, Format

_MOST_BLOCKS = 4096  # of a file that are looked at
_LARGEST = 2**22  # bytes of a profile; those of printers have half a megabyte
_IN_JPEG = b"ICC_PROFILE\0"


def changing_profile(data: bytes, form: Format, name: str) -> bytes | None:
    """Finds the colour profile of an image file, if colours look different with it than as sRGB.

    A profile that cannot be read is ignored, as viewers of photographs do.

    Args:
      data: the file's bytes.
      form: their format.
      name: of the file, for messages.

    Returns:
      The profile; None where there is none, or it is as good as sRGB.

    Raises:
      PassingImageError: no process can be had that would look at the profile.
    """
    finder = {JPEG: _in_jpeg, PNG: _in_png, WEBP: _in_webp}.get(form)
    profile = finder(data) if finder else None
    if not profile:
        return None
    try:
        return profile if _changes_colours(profile) else None
    except PassingImageError as error:
        raise PassingImageError(name, error.reason) from None


@functools.lru_cache(maxsize=64)
def _changes_colours(profile: bytes) -> bool:
    try:
        answer, _ = _decoding_processes.ask("<profile>", {"task": "profile"}, profile)
    except PassingImageError:
        raise
    except ImageError:  # what is wrong with the profile is not wrong with the image
        return False
    return bool(answer["changes"])


def _in_jpeg(data: bytes) -> bytes | None:
    """The profile in the APP2 segments, which are numbered (ICC.1:2022, annex B.4)."""
    parts: dict[int, bytes] = {}
    at = 2
    for _ in range(_MOST_BLOCKS):
        if data[at : at + 1] != b"\xff":
            break
        kind = data[at + 1 : at + 2]
        if kind == b"\xff":  # a fill byte
            at += 1
            continue
        if kind in (b"\xda", b"\xd9", b""):  # the start of a scan: no metadata behind it
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == b"\xe2" and data.startswith(_IN_JPEG, at + 4):
            parts[data[at + 16]] = data[at + 18 : at + 2 + length]
        at += 2 + max(length, 2)
    profile = b"".join(parts[number] for number in sorted(parts))
    return profile if len(profile) <= _LARGEST else None


def _in_png(data: bytes) -> bytes | None:
    """The profile in the iCCP chunk: a name, a zero, the method 0, and the profile, deflated."""
    at = 8
    for _ in range(_MOST_BLOCKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind in (b"IDAT", b""):
            break
        if kind == b"iCCP":
            _, _, rest = data[at + 8 : at + 8 + length].partition(b"\0")
            try:
                return zlib.decompressobj().decompress(rest[1:], _LARGEST)
            except zlib.error:
                return None
        at += 12 + length
    return None


def _in_webp(data: bytes) -> bytes | None:
    """The profile in the ICCP chunk."""
    at = 12
    for _ in range(_MOST_BLOCKS):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ICCP":
            return data[at + 8 : at + 8 + length] if length <= _LARGEST else None
        if len(kind) < 4:
            break
        at += 8 + length + length % 2
    return None
