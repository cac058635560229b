"""Files that announce too much, lie, or are no files: each is one plain failure, and nothing large is allocated."""

from __future__ import annotations

import functools
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.damaged_images import (
    bmp,
    encoded,
    gif,
    jpeg_header,
    png_chunk,
    png_header,
    riff,
    webp_canvas,
    webp_lossless,
    webp_lossy,
)
from PIL import Image

from tfvlad.errors import ImageError
from tfvlad.images import listing
from tfvlad.images._headers import MOST_BLOCKS
from tfvlad.images.loading import ImageLoader


@functools.cache
def loader(max_pixels: int = 100_000_000, resize: str = "fit") -> ImageLoader:
    return ImageLoader(32, resize, "none", max_pixels)  # type: ignore[arg-type]


def reason(source: bytes | str | os.PathLike[str]) -> str:
    with pytest.raises(ImageError) as caught:
        loader().load(source)
    assert "\n" not in str(caught.value)
    return caught.value.reason


ANIMATED_CANVAS = webp_canvas(16384, 16384, flags=2)

BOMBS = {
    "jpeg": (jpeg_header(65500, 65500), "65500x65500"),
    "png": (png_header(80000, 80000) + png_chunk(b"IDAT", bytes(9)), "80000x80000"),
    "png of 4 billion": (png_header(2**31 - 1, 2**31 - 1), "2147483647x2147483647"),
    "gif": (gif((65535, 65535), (65535, 65535)), "65535x65535"),
    "gif screen": (gif((65535, 65535), (1, 1)), "65535x65535"),
    "gif frame": (gif((1, 1), (65535, 65535)), "65535x65535"),
    "bmp": (bmp(80000, 80000), "80000x80000"),
    "bmp top down": (bmp(80000, -80000), "80000x80000"),
    "bmp of the lowest number": (bmp(80000, -(2**31)), "80000x2147483648"),
    "webp": (riff(webp_lossy(16383, 16383)), "16383x16383"),
    "webp lossless": (riff(webp_lossless(16384, 16384)), "16384x16384"),
    "webp canvas": (riff(webp_canvas(2**24, 2**24), webp_lossy(1, 1)), "16777216x16777216"),
    "webp frame": (riff(ANIMATED_CANVAS, (b"ANMF", bytes(16) + riff(webp_lossless(16384, 16384))[12:])), "16384x16384"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(name: str) -> None:
    data, shape = BOMBS[name]
    assert len(data) < 150
    assert reason(data) == f"{shape} pixels are more than max_pixels=100000000; --max_pixels raises the limit"


def test_bombs_and_what_hides_them_allocate_nothing(tmp_path: Path) -> None:
    hidden = {
        # Before IHDR, a chunk with small numbers where IHDR's would be.
        "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"abcd", bytes([0, 0, 0, 9] * 3)) + png_header(30000, 30000)[8:],
        # A small canvas; the image in it is large.
        "webp": riff(webp_canvas(9, 9), webp_lossless(16384, 16384)),
        # An animation within the frame of an animation.
        "nested": riff(ANIMATED_CANVAS, (b"ANMF", bytes(16) + riff(ANIMATED_CANVAS)[12:])),
        # Each frame is of 100 megapixels, and all would be unpacked before the first is given.
        "gif": gif((10, 10), (10, 10))[:-1] + gif((1, 1), (10000, 10000), frames=500)[19:],
        # What EXIF's count of tags, and a chunk's size, would allocate.
        "exif": encoded(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        "chunk": png_header(8, 8) + struct.pack(">I", 2**31 - 1) + b"iCCP",
        "anmf": riff(ANIMATED_CANVAS)[:-4] + b"ANMF\xff\xff\xff\xff",
    }
    files = []
    for name, data in [*((name, data) for name, (data, _) in BOMBS.items()), *hidden.items()]:
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    script = """
import resource, sys
from tfvlad.errors import ImageError
from tfvlad.images.loading import ImageLoader

def peak():  # MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)

loader = ImageLoader(32, "fit", "none")
def load(path):
    try:
        loader.load(path)
    except ImageError as error:
        print(error.reason)

load(sys.argv[1])  # traces the graph
before = peak()
for path in sys.argv[1:]:
    load(path)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) < 64  # the smallest bomb would take 200


def test_the_limit_is_the_last_size_that_is_read() -> None:
    pixels = encoded(Image.new("RGB", (10, 10)), "PNG")
    assert loader(max_pixels=100).load(pixels).shape == (32, 32, 3)
    with pytest.raises(ImageError, match="10x10 pixels are more than max_pixels=99; --max_pixels raises the limit"):
        loader(max_pixels=99).load(pixels)


@pytest.mark.parametrize("data", [png_header(0, 5), bmp(0, 7), riff(webp_lossy(0, 7)), gif((0, 0), (0, 0))])
def test_an_image_of_no_pixels_is_a_failure(data: bytes) -> None:
    assert reason(data).startswith("a damaged or truncated header of 0x")


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    data = encoded(Image.new("L", (4000, 2500)), "JPEG", progressive=True)  # 10 megapixels: at most 1000 scans
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert reason(data[:-2] + scan * 1000) == "a JPEG of so many scans that it would take minutes"


def test_walks_through_a_file_end() -> None:
    small = encoded(Image.new("RGB", (8, 8)), "PNG")
    chunks = png_chunk(b"teSt", b"") * 100_000
    assert loader().load(small[:33] + chunks + small[33:]).shape == (32, 32, 3)
    still = riff(*[(b"teSt", b"")] * 100_000)[12:]
    assert reason(riff(ANIMATED_CANVAS)[:-1] + b"\0" + still) == "a WebP animation without a first frame"
    # Blocks of 1 and 2 bytes in turn: no two steps can be taken at once.
    blocks = b"\x01\0\x02\0\0" * MOST_BLOCKS
    assert reason(gif((1, 1), (1, 1))[:30] + blocks + b"\0;") == "a damaged or truncated GIF"


def test_a_gif_of_long_and_of_mixed_blocks_is_read_whole() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8))
    data = encoded(noise, "GIF")
    assert len(data) > 256 * 128  # more than one step
    np.testing.assert_allclose(loader().load(data), loader().load(encoded(noise, "PNG")), atol=1e-3)


def test_the_first_frame_of_a_gif_is_shown_where_it_is_not_the_screen() -> None:
    # A frame of 5 x 4 white pixels at (3, 2) of a screen of 20 x 20.
    data = bytearray(encoded(Image.new("L", (5, 4), 255), "GIF"))
    frame = data.index(b"\x2c\0\0\0\0\x05\0\x04\0")
    data[6:10], data[frame + 1 : frame + 5] = struct.pack("<HH", 20, 20), struct.pack("<HH", 3, 2)
    image = np.asarray(loader().load(bytes(data)))
    assert image.shape == (26, 32, 3)  # 4 * 32 / 5 = 25.6
    np.testing.assert_allclose(image, 255, atol=1e-3)


@pytest.mark.parametrize("resize", ["fit", "stretch"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (20000, 1), (1, 20000), (40000, 50)])
def test_extreme_shapes(width: int, height: int, resize: str) -> None:
    row = np.linspace(0, 200, max(width, height)).astype(np.uint8)
    grey = np.broadcast_to(row[np.newaxis, :width] if width > 1 else row[:height, np.newaxis], (height, width))
    image = np.asarray(loader(resize=resize).load(encoded(Image.fromarray(grey), "PNG")))
    longest = max(width, height)
    fitted = (max(1, round(height * 32 / longest)), max(1, round(width * 32 / longest)), 3)
    assert image.shape == (fitted if resize == "fit" else (32, 32, 3))
    if longest > 1:
        axis = 1 if width > height else 0
        levels = image.mean(axis=(1 - axis, 2))
        np.testing.assert_allclose(levels, np.linspace(0, 200, 65)[1::2], atol=1.5)  # the middles of 32 intervals


def test_a_wide_image_is_the_tall_one_turned() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20000, 3), np.uint8)
    load = loader(resize="stretch").load
    np.testing.assert_allclose(load(pixels), np.swapaxes(load(np.swapaxes(pixels, 0, 1)), 0, 1), atol=1e-3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".webp"])
def test_the_suffix_does_not_matter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    path.write_bytes(encoded(Image.new("RGB", (8, 8)), "WEBP"))
    assert loader().load(path).shape == (32, 32, 3)
    path.write_text("no picture\n" * 100)
    assert reason(path) == "not an image in a known format"
    path.write_bytes(b"")
    assert reason(path) == "an empty file"
    path.write_bytes(bytes(10_000))
    assert reason(path) == "not an image in a known format"


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(tmp_path) == "Is a directory"
    assert reason("a\0b.jpg") == "a path cannot hold a zero byte"
    assert "name too long" in reason(tmp_path / ("x" * 5000 + ".jpg"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert reason(tmp_path / "pipe.jpg") == "is not a regular file"
    if os.path.exists("/dev/zero"):
        assert reason("/dev/zero") == "is not a regular file"
    (tmp_path / "link.jpg").symlink_to("link.jpg")
    assert "symbolic links" in reason(tmp_path / "link.jpg")
    monkeypatch.setattr(listing, "LARGEST_FILE", 99)
    (tmp_path / "large.jpg").write_bytes(bytes(100))
    assert reason(tmp_path / "large.jpg") == "100 bytes are more than an image file may have (99)"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    path.chmod(0)
    assert reason(path) == "Permission denied"
