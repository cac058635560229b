"""Files as cameras write them: a DNG with a sensor's pixels, and a JPEG as its preview."""

from __future__ import annotations

import struct

_SHORT, _LONG, _BYTE, _ASCII, _RATIONAL, _SIGNED = 3, 4, 1, 2, 5, 10


def dng(preview: bytes, orientation: int = 1, width: int = 64, height: int = 48) -> bytes:
    """A little-endian DNG 1.4.

    Its first directory is the preview, the one inside of that the sensor's pixels in a Bayer pattern, all grey.

    Args:
      preview: a JPEG; b"" for a file without a preview.
      orientation: EXIF's, of the preview and of the pixels.
      width: of the sensor, pixels.
      height: likewise.
    """
    sensor = struct.pack("<H", 512) * (width * height)
    shared = [
        (50706, _BYTE, (1, 4, 0, 0)),
        (50708, _ASCII, b"tfvlad test\0"),
        (50721, _SIGNED, (1, 0, 0, 0, 1, 0, 0, 0, 1)),  # from XYZ to the camera's colours
        (50728, _RATIONAL, (1, 1, 1)),  # the neutral colour
        (50778, _SHORT, (21,)),  # light: D65
        (271, _ASCII, b"tfvlad\0"),
        (272, _ASCII, b"test\0"),
        (274, _SHORT, (orientation,)),
    ]
    raw = [
        (254, _LONG, (0,)),
        (256, _LONG, (width,)),
        (257, _LONG, (height,)),
        (258, _SHORT, (16,)),
        (259, _SHORT, (1,)),
        (262, _SHORT, (32803,)),
        (273, _LONG, sensor),
        (277, _SHORT, (1,)),
        (278, _LONG, (height,)),
        (279, _LONG, (len(sensor),)),
        (33421, _SHORT, (2, 2)),
        (33422, _BYTE, (0, 1, 1, 2)),
    ]
    small = [
        (254, _LONG, (1,)),
        (256, _LONG, (_jpeg_size(preview)[0],)),
        (257, _LONG, (_jpeg_size(preview)[1],)),
        (258, _SHORT, (8, 8, 8)),
        (259, _SHORT, (7,)),
        (262, _SHORT, (6,)),
        (273, _LONG, preview),
        (277, _SHORT, (3,)),
        (278, _LONG, (_jpeg_size(preview)[1],)),
        (279, _LONG, (len(preview),)),
    ] if preview else []  # fmt: skip
    head = b"II*\0\x08\0\0\0"
    if not preview:
        return head + _directory(raw + shared, len(head))
    first = len(_directory([*small, *shared, (330, _LONG, (0,))], len(head)))
    inside = len(head) + first
    return head + _directory([*small, *shared, (330, _LONG, (inside,))], len(head)) + _directory(raw, inside)


def _directory(tags: list[tuple[int, int, object]], at: int) -> bytes:
    """A directory that lies at a position, and whatever its tags point to behind it."""
    place = at + 2 + 12 * len(tags) + 4
    entries, body = b"", b""
    for tag, kind, value in sorted(tags, key=lambda one: one[0]):
        if tag == 273:  # a strip of bytes
            entries += struct.pack("<HHII", tag, kind, 1, place + len(body))
            body += value + bytes(len(value) % 2)
            continue
        if isinstance(value, bytes):
            count, data = len(value), value
        else:
            code = {_SHORT: "H", _LONG: "I", _BYTE: "B", _RATIONAL: "I", _SIGNED: "i"}[kind]
            numbers = [part for one in value for part in (one, 1)] if kind in (_RATIONAL, _SIGNED) else value
            count, data = len(value), struct.pack(f"<{len(numbers)}{code}", *numbers)
        if len(data) <= 4:
            entries += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
        else:
            entries += struct.pack("<HHII", tag, kind, count, place + len(body))
            body += data + bytes(len(data) % 2)
    return struct.pack("<H", len(tags)) + entries + bytes(4) + body


def _jpeg_size(data: bytes) -> tuple[int, int]:
    import io

    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.size
