"""What the tests of synchronisation share: folders of made-up files, and what the catalog holds of them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO, Any

from helpers.fake_encoder import FakeEncoder

from tfvlad.index._sync import SyncReport, synchronise
from tfvlad.index.catalog import Catalog


def write(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        (folder / f"{name}.jpg").write_text(content)


def run(catalog: Catalog, *folders: Path, encoder: FakeEncoder | None = None, **options: bool) -> SyncReport:
    fake = encoder or FakeEncoder()
    return synchronise(catalog, [str(folder) for folder in folders], lambda: fake, **options)


def counts(report: SyncReport) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.removed, report.unchanged, len(report.failed)


def contents(catalog: Catalog) -> dict[str, list[float]]:
    """Each indexed path's descriptors, end to end."""
    with catalog.read() as snapshot:
        found: dict[str, list[float]] = {path: [] for _, _, path in snapshot.files_page(0, 10_000)}
        for block in snapshot.blocks(100):
            for image, vector in zip(block.images, block.vectors, strict=True):
                for _, _, _, path in snapshot.files_of(image[None]):
                    found[path] += vector.tolist()
    return found


def described(**files: str) -> dict[str, list[float]]:
    return {f"{name}.jpg": FakeEncoder().describe(text.encode()).tolist() for name, text in files.items()}


def fail_to_open(path: str, mode: str) -> IO[Any]:
    raise PermissionError(errno.EACCES, "Permission denied", path)
