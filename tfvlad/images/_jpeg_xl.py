"""The size of a JPEG XL from its header, which its library tells only when it has decoded the picture.

ISO/IEC 18181-1, section 9.2.1 (the nested bundles ``SizeHeader`` and ``ImageMetadata``).
"""

from __future__ import annotations

from tfvlad.images._boxes import boxes

_HEADER = 64  # bytes that hold all that is read here
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the upright picture.

    Raises:
      ValueError: the header is cut off.
    """
    bits = _Bits(_codestream(data))
    if bits.take(16) != 0x0AFF:
        raise ValueError("no codestream")
    small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if small else _size(bits)
    ratio = bits.take(3)
    if ratio:
        width = height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1]
    else:
        width = 8 * (bits.take(5) + 1) if small else _size(bits)
    has_metadata = not bits.take(1)
    orientation = bits.take(3) + 1 if has_metadata and bits.take(1) else 1
    return (width, height) if orientation < 5 else (height, width)


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream, which may lie in boxes, in one or in parts."""
    if data.startswith(b"\xff\x0a"):
        return data[:_HEADER]
    found = b""
    for kind, start, end in boxes(data):
        if kind == b"jxlc":
            return data[start : min(end, start + _HEADER)]
        if kind == b"jxlp" and len(found) < _HEADER:  # the number of the part comes first
            found += data[start + 4 : min(end, start + 4 + _HEADER)]
    return found


def _size(bits: _Bits) -> int:
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


class _Bits:
    """Bits of some bytes, the least significant of each first."""

    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data, "little")
        self._count = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._count:
            raise ValueError("the header is cut off")
        value, self._left, self._count = self._left & ((1 << count) - 1), self._left >> count, self._count - count
        return value
