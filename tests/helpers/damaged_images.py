"""Image files that could do harm: headers that announce more than there is, and sound files that are then damaged."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
KINDS = ("bits", "header", "truncation", "repetition", "field", "splice", "deletion", "noise")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of a kind that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_header(width: int, height: int, colour: int = 2) -> bytes:
    """A PNG up to its first data."""
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))


def jpeg_header(width: int, height: int) -> bytes:
    """A grey JPEG's frame header and the start of its scan."""
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks."""
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """A VP8X chunk."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def webp_lossless(width: int, height: int) -> tuple[bytes, bytes]:
    """A VP8L chunk that ends behind its header."""
    return b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(8)


def webp_lossy(width: int, height: int) -> tuple[bytes, bytes]:
    """A VP8 chunk that ends behind its header."""
    return b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(16)


def gif(screen: tuple[int, int], frame: tuple[int, int], frames: int = 1) -> bytes:
    """A GIF of two colours whose frames hold one pixel, whatever they announce."""
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + image * frames + b";"


def bmp(width: int, height: int) -> bytes:
    """The headers of a BMP of 24 bits and a row of it."""
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 100, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(64)


def whole_images(width: int = 48, height: int = 40) -> dict[str, bytes]:
    """Small sound files of every format, in the variants that Pillow writes."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    levels = np.stack([x / width * 255, y / height * 255, 128 + 64 * np.sin(x / 9)], -1) + noise
    rgb = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera maker", 6
    several = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    return {
        "jpeg": encoded(rgb, "JPEG", exif=exif),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True),
        "jpeg cmyk": encoded(rgb.convert("CMYK"), "JPEG"),
        "jpeg grey": encoded(rgb.convert("L"), "JPEG"),
        "jpeg restarts": encoded(rgb, "JPEG", restart_marker_blocks=2),
        "png": encoded(rgb, "PNG", exif=exif),
        "png palette": encoded(rgb.convert("P"), "PNG", transparency=b"\0\x80\xff"),
        "png alpha": encoded(rgba, "PNG"),
        "png grey alpha": encoded(rgba.convert("LA"), "PNG"),
        "png 1 bit": encoded(rgb.convert("1"), "PNG"),
        "png 16 bits": encoded(Image.fromarray((levels[..., 0] * 200).clip(0, 65535).astype(np.uint16)), "PNG"),
        "png animated": encoded(rgb, "PNG", **several),
        "gif": encoded(rgb, "GIF"),
        "gif animated": encoded(rgb, "GIF", **several),
        "gif not interlaced": encoded(rgba, "GIF", interlace=0),
        "bmp": encoded(rgb, "BMP"),
        "bmp palette": encoded(rgb.convert("P"), "BMP"),
        "bmp alpha": encoded(rgba, "BMP"),
        "bmp 1 bit": encoded(rgb.convert("1"), "BMP"),
        "webp": encoded(rgb, "WEBP", exif=exif, icc_profile=b"profile"),
        "webp lossless": encoded(rgb, "WEBP", lossless=True),
        "webp alpha": encoded(rgba, "WEBP"),
        "webp animated": encoded(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(90)]),
    }


def damage(data: bytes, kind: str, generator: random.Random, others: Sequence[bytes]) -> bytes:
    """Damages a file at random; the checksums of a PNG are mostly corrected, so that decoders read on."""
    changed, position = bytearray(data), generator.randrange(len(data))
    if kind == "bits":
        for _ in range(generator.choice((1, 2, 8))):
            changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    elif kind == "header":
        changed[generator.randrange(min(len(data), 64))] = generator.choice((0, 1, 127, 128, 255))
    elif kind == "truncation":
        del changed[position:]
    elif kind == "repetition":
        changed[position:position] = data[position : position + generator.randrange(400)] * generator.choice((1, 2, 30))
    elif kind == "field":
        form = generator.choice(("<I", ">I", "<H", ">H"))
        size = struct.calcsize(form)
        position = generator.choice((position, position % 64))
        changed[position : position + size] = struct.pack(form, generator.choice(_EDGES) % 256**size)
    elif kind == "splice":
        other = generator.choice(others)
        changed[position:] = other[generator.randrange(len(other)) :]
    elif kind == "deletion":
        del changed[position : position + generator.choice((1, 4, 12, 100))]
    else:
        size = len(changed[position : position + generator.choice((4, 16, 64))])
        changed[position : position + size] = generator.randbytes(size)
    return _with_checksums(bytes(changed)) if generator.random() < 0.85 else bytes(changed)


def _with_checksums(data: bytes) -> bytes:
    if not data.startswith(b"\x89PNG"):
        return data
    mended, position = data[:8], 8
    while position + 12 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if position + 12 + size > len(data):
            break
        mended += png_chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + size])
        position += 12 + size
    return mended + data[position:]
