"""Query images -> descriptors, with an account of those that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tfvlad.encoders import AnyEncoder
from tfvlad.errors import ConfigError, ImageError


def encode_queries(
    encoder: AnyEncoder, paths: Sequence[str]
) -> tuple[list[str], npt.NDArray[np.float32], list[tuple[str, str]]]:
    """Encodes every query that can be read.

    Returns:
      The paths that could be encoded, their (n, dim) float32 descriptors, and (path, reason) of the others.

    Raises:
      ConfigError: there is none that can be read.
    """
    found, rows, failures = [], [], []
    stream = tqdm(encoder.encode_stream(paths), "Queries", len(paths), disable=None, delay=2, unit=" images")
    for path, row in zip(paths, stream, strict=True):
        if isinstance(row, ImageError):
            failures.append((path, row.reason))
        elif not (np.isfinite(row).all() and row.any()):
            failures.append((path, "its descriptor is all zeros or not finite"))
        else:
            found.append(path)
            rows.append(row)
    if not found:
        path, reason = failures[0]
        others = f" (and {len(failures) - 1} more that cannot be used)" if len(failures) > 1 else ""
        raise ConfigError(f"{path}: {reason}{others}")
    return found, np.stack(rows), failures
