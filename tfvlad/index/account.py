"""What an index holds of each folder, and why it does not hold the rest."""

from __future__ import annotations

import dataclasses
import os

from tfvlad.errors import ArtifactError
from tfvlad.index.catalog.reading import Snapshot
from tfvlad.index.scan import Failure


@dataclasses.dataclass(frozen=True)
class IndexedFolder:
    """A folder that was synchronised, as it was then.

    Attributes:
      path: where it is now.
      files: indexed.
      failed: what is no image, with its reason, sorted by path. What could not be read at all is told by `Index.sync`
        and not kept: the next one tries again.
    """

    path: str
    files: int
    failed: list[Failure]


def take_account(snapshot: Snapshot, folders: dict[int, str]) -> list[IndexedFolder]:
    """Lists the folders of a catalog.

    Args:
      snapshot: of the catalog.
      folders: each root's path, ending in a separator.

    Raises:
      ArtifactError: a failure's folder is not among them.
    """
    failed: dict[int, list[Failure]] = {root: [] for root in folders}
    for root, path, reason in snapshot.failures():
        if root not in failed:
            raise ArtifactError(snapshot.path, f"is damaged: the folder of {path} is not in it")
        failed[root].append(Failure(folders[root] + path, reason))
    return [
        IndexedFolder(os.path.dirname(folder) or folder, snapshot.count_files(root), sorted(failed[root]))
        for root, folder in folders.items()
    ]
