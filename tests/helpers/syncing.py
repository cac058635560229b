"""For tests of synchronisation: folders of made-up files, and what the catalog holds after them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from helpers.fake_encoder import FakeEncoder

from tfvlad.index._sync import SyncReport, synchronise
from tfvlad.index.catalog import Catalog


def write(folder: Path, **contents: str) -> None:
    """Writes files ``NAME.jpg`` with these contents."""
    for name, content in contents.items():
        (folder / f"{name}.jpg").write_text(content)


def run(catalog: Catalog, *folders: Path, encoder: FakeEncoder | None = None, **options: bool) -> SyncReport:
    """Synchronises a catalog with folders, with a fake encoder."""
    fake = encoder or FakeEncoder()
    return synchronise(catalog, [str(folder) for folder in folders], lambda: fake, **options)


def counts(report: SyncReport) -> tuple[int, int, int, int, int]:
    """Returns how many files were added, updated, removed, left unchanged and not usable."""
    return report.added, report.updated, report.removed, report.unchanged, len(report.failed)


def contents(catalog: Catalog) -> dict[str, list[float]]:
    """Returns path -> the values of its descriptors, one descriptor after the other, of all indexed files."""
    with catalog.read() as snapshot:
        found: dict[str, list[float]] = {path: [] for _, _, path in snapshot.files_page(0, 10_000)}
        for block in snapshot.blocks(100):
            for image, vector in zip(block.images, block.vectors, strict=True):
                for _, _, _, path in snapshot.files_of(image[None]):
                    found[path] += vector.tolist()
    return found


def described(**files: str) -> dict[str, list[float]]:
    """Returns what `contents` returns for these files."""
    return {f"{name}.jpg": FakeEncoder().describe(text.encode()).tolist() for name, text in files.items()}


def fail_to_open(path: str, *mode: str) -> Any:
    """Stands in for `open` of files that may not be read."""
    raise PermissionError(errno.EACCES, "Permission denied", path)
