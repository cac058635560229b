"""A first look at an artifact's folder, before anything in it is opened."""

from __future__ import annotations

import os

from tfvlad.errors import ArtifactError


def refuse_links(folder: str) -> None:
    """Makes sure that a folder holds its own files: a link would have us read or write anywhere, a pipe wait for ever.

    Raises:
      ArtifactError: names the first entry that is neither a file nor a folder.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)):
                    raise ArtifactError(entry.path, "is a link, or no regular file; the folder must hold its own files")
    except OSError as error:
        raise ArtifactError(folder, f"cannot be listed: {error.strerror}") from error
