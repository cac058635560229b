"""What stands in the boxes of HEIC, AVIF, JPEG 2000 and JPEG XL files, and no library tells: some colour profiles.

Layout of boxes: ISO/IEC 14496-12, section 4.2. The box ``colr``: ISO/IEC 23008-12 and 15444-1, annex I.5.3.3.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

import numpy as np

from tfvlad.images.formats import AVIF, HEIC, JPEG_2000, recognise

_MOST_BOXES = 1024
_TO_COLOUR = {HEIC: (b"meta", b"iprp", b"ipco"), AVIF: (b"meta", b"iprp", b"ipco"), JPEG_2000: (b"jp2h",)}

# Chromaticities x and y of red, green and blue by the code of ITU-T H.273, table 2; white is D65.
PRIMARIES = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_HDR = (16, 18)  # transfer functions of table 3 (PQ, HLG), which are left as they are
_D65, _D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two positions: the kind of each, and where its content begins and ends."""
    end = len(data) if end is None else end
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        length, begin = int.from_bytes(data[start : start + 4], "big"), start + 8
        if length == 1:  # a length of 64 bits stands behind the kind
            length, begin = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = end if length == 0 else min(start + length, end)
        if stop < begin:
            return
        yield data[start + 4 : start + 8], begin, stop
        start = stop


def boxed_profile(data: bytes) -> bytes | None:
    """The colour profile that a file's boxes hold or describe by numbers; None where it is sRGB, or there is none.

    Args:
      data: a file of any format.
    """
    form = recognise(data)
    way = _TO_COLOUR.get(form, ()) if form else ()
    start, end = 0, len(data)
    for wanted in way:
        found = [(begin, stop) for kind, begin, stop in boxes(data, start, end) if kind == wanted]
        if not found:
            return None
        start, end = found[0][0] + (4 if wanted == b"meta" else 0), found[0][1]  # that one has a version and flags
    for kind, begin, stop in boxes(data, start, end) if way else ():
        if kind != b"colr":
            continue
        if form == JPEG_2000:
            if data[begin] == 2:  # after the method: precedence and approximation
                return data[begin + 3 : stop]
        elif data[begin : begin + 4] == b"nclx":
            primaries, transfer = struct.unpack(">HH", data[begin + 4 : begin + 8])
            return display_profile(primaries) if primaries in PRIMARIES and transfer not in _HDR else None
    return None


@functools.cache
def display_profile(primaries: int) -> bytes:
    """A profile (ICC.1:2022) of a display with some primaries of `PRIMARIES`, and sRGB's white and curve."""
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in PRIMARIES[primaries]]).T
    xyz = xyz * np.linalg.solve(xyz, _D65)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _D65)) @ _BRADFORD @ xyz
    curve = b"para\0\0\0\0\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    text = b"mluc" + struct.pack(">5I", 0, 1, 12, 0x656E5553, 2) + struct.pack(">I", 28) + b"\0 "
    tags = {b"desc": text, b"cprt": text, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50)}
    for name, column in zip((b"r", b"g", b"b"), adapted.T, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*column)
        tags[name + b"TRC"] = curve
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = b"\0\0\0\0\x04\x30\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + _fixed(*_D50)
    rest = head.ljust(124, b"\0") + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", 4 + len(rest)) + rest


def _fixed(*numbers: float) -> bytes:
    """Numbers as ICC's s15Fixed16."""
    return struct.pack(f">{len(numbers)}i", *(round(65536 * number) for number in numbers))
