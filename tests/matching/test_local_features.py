"""Compact local features: what is stored is what was there, and what nobody stored is refused in one line."""

from __future__ import annotations

import contextlib
import random
import struct
import zlib

import numpy as np
import pytest
from helpers.damaged_images import KINDS, damage

from tfvlad.errors import ArtifactError
from tfvlad.matching.local_features import MOST_CELLS, MOST_DIMENSIONS, LocalFeatures


def made(cells: int = 20, dimensions: int = 12, seed: int = 0) -> LocalFeatures:
    generator = np.random.default_rng(seed)
    positions = generator.uniform(0, 1, (cells, 2)).astype(np.float32)
    descriptors = generator.integers(-127, 128, (cells, dimensions)).astype(np.int8)
    return LocalFeatures(positions, descriptors, (1 / 28, 1 / 14), (640, 480))


@pytest.mark.parametrize("cells", [0, 1, 20])
@pytest.mark.parametrize("dimensions", [1, 12, MOST_DIMENSIONS])
def test_bytes_hold_everything(cells: int, dimensions: int) -> None:
    features = made(cells, dimensions)
    data = features.to_bytes()
    assert len(data) == 32 + cells * (dimensions + 4)
    for stored in (data, memoryview(data), memoryview(bytearray(data))):
        read = LocalFeatures.from_bytes(stored)
        np.testing.assert_array_equal(read.positions, features.positions)
        np.testing.assert_array_equal(read.descriptors, features.descriptors)
        assert (read.cell, read.size, len(read)) == (features.cell, features.size, cells)
        assert read.to_bytes() == data


def test_the_bytes_are_the_same_on_every_processor() -> None:
    features = LocalFeatures(np.array([[0, 1]]), np.array([[-127, 2]], np.int8), (0.5, 0.25), (3, 256))
    head = b"tfvL" + bytes.fromhex("0100 0200 01000000 03000000 00010000 0000003f 0000803e")
    body = bytes.fromhex("0000 ffff 81 02")
    assert features.to_bytes() == head + struct.pack("<I", zlib.crc32(head + bytes(4) + body)) + body


def test_positions_are_exact_to_a_hundredth_of_a_cell() -> None:
    positions = np.random.default_rng(0).uniform(0, 1, (50, 2)).astype(np.float32)
    features = LocalFeatures(positions, np.zeros((50, 4), np.int8), (1 / 56, 1 / 56), (448, 448))
    assert np.abs(features.positions - positions).max() <= 0.51 / 65535


def test_cells_are_a_unit_that_is_the_same_in_both_directions() -> None:
    # 640 x 480 pixels in 28 x 14 cells: a cell has 22.9 x 34.3 pixels, as much as a square of 28 x 28.
    features = made()
    assert features.cell_pixels == pytest.approx(28.0, rel=0.001)
    pixels = features.positions * [640, 480]
    np.testing.assert_allclose(features.in_cells() * features.cell_pixels, pixels, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"descriptors": np.zeros((20, 12), np.float32)}, "must be int8"),
        ({"descriptors": np.zeros(20, np.int8)}, "must be int8 of shape"),
        ({"descriptors": np.zeros((20, 0), np.int8)}, "of 1 to 512 dimensions"),
        ({"descriptors": np.zeros((20, MOST_DIMENSIONS + 1), np.int8)}, "of 1 to 512 dimensions"),
        ({"descriptors": np.zeros((MOST_CELLS + 1, 1), np.int8)}, "there may be 16384 cells"),
        ({"positions": np.zeros((19, 2))}, "positions must be"),
        ({"positions": np.full((20, 2), 1.01)}, "positions must be"),
        ({"positions": np.full((20, 2), np.nan)}, "positions must be"),
        ({"cell": (0.0, 0.1)}, "cell must be"),
        ({"cell": (0.1, float("nan"))}, "cell must be"),
        ({"size": (0, 9)}, "size must be"),
        ({"size": (9, 2**28)}, "size must be"),
    ],
)
def test_features_that_cannot_be_are_refused(change: dict, reason: str) -> None:
    features = made()
    parts = {name: getattr(features, name) for name in ("positions", "descriptors", "cell", "size")}
    with pytest.raises(ValueError, match=reason):
        LocalFeatures(**{**parts, **change})


def refused(data: bytes) -> str:
    with pytest.raises(ArtifactError) as caught:
        LocalFeatures.from_bytes(data, "/photos.index/cells")
    message = str(caught.value)
    assert message.startswith("/photos.index/cells: ")
    assert len(message.splitlines()) == 1
    return message


def with_checksum(data: bytes) -> bytes:
    """What somebody would write who means harm, and knows the format."""
    return data[:28] + struct.pack("<I", zlib.crc32(data[:28] + bytes(4) + data[32:])) + data[32:]


@pytest.mark.parametrize(
    ("position", "form", "value", "reason"),
    [
        (0, "<4s", b"PK\3\4", "holds no local features"),
        (4, "<H", 2, "of format 2"),
        (4, "<H", 0, "of format 0"),
        (6, "<H", 0, "cells of 0 dimensions"),
        (6, "<H", 65535, "are not 20 cells of 65535 dimensions"),
        (8, "<I", 2**32 - 1, "are not 4294967295 cells"),
        (12, "<I", 0, "size must be"),
        (16, "<I", 2**32 - 1, "size must be"),
        (20, "<f", -1.0, "cell must be"),
        (20, "<f", float("nan"), "cell must be"),
        (24, "<f", float("inf"), "cell must be"),
    ],
)
def test_hostile_headers(position: int, form: str, value: object, reason: str) -> None:
    data = bytearray(made().to_bytes())
    struct.pack_into(form, data, position, value)
    assert reason in refused(with_checksum(bytes(data)))


def test_more_cells_than_there_may_be() -> None:
    data = bytearray(made(1, 1).to_bytes() + bytes(5 * MOST_CELLS))
    struct.pack_into("<I", data, 8, MOST_CELLS + 1)
    assert "there may be 16384 cells" in refused(with_checksum(bytes(data)))


@pytest.mark.parametrize("length", [0, 3, 4, 31, 32, 33, 351])
def test_what_is_cut_off(length: int) -> None:
    refused(made().to_bytes()[:length])


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed(kind: str) -> None:
    data, others = made().to_bytes(), [made(7, 3, seed=1).to_bytes()]
    generator = random.Random(kind)
    for _ in range(300):
        damaged = damage(data, kind, generator, others)
        if damaged != data:
            refused(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_with_a_checksum_that_fits_does_no_harm(kind: str) -> None:
    data, others = made().to_bytes(), [made(7, 3, seed=1).to_bytes()]
    generator = random.Random(kind)
    for _ in range(300):
        damaged = with_checksum(damage(data, kind, generator, others))
        with contextlib.suppress(ArtifactError):
            assert np.isfinite(LocalFeatures.from_bytes(damaged, "x").in_cells()).all()
