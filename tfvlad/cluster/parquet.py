"""The Parquet data set of encoded images: one row for each view of an image, or for an image that cannot be used.

| column | holds |
| --- | --- |
| `path` | string: the file, as it was named |
| `sha256` | binary(32): of the file's bytes; null where it could not be read |
| `view` | string: the view's name; null for an image that cannot be used |
| `descriptor` | fixed_size_list(float32, dim), unit length; null likewise |
| `local_features` | binary: those of the whole picture, in the row of the first view; null in the others |
| `error` | string: why the image cannot be used; null where it can |

The schema's metadata has the format (1), the encoder's fingerprint, the views and the number of local features, see
`metadata`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvlad.encoding.views import Encoded
from tfvlad.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow

FORMAT = "1"
SUFFIX = ".parquet"


def require_pyarrow() -> None:
    """Makes sure that Parquet can be read.

    Raises:
      ConfigError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError("Parquet needs pyarrow: pip install 'tfvlad[ray]'")


def metadata(fingerprint: str, views: str, local_features: int) -> dict[str, str]:
    """What the schema's metadata says of how the images were encoded."""
    return {
        "tfvlad.format": FORMAT,
        "tfvlad.fingerprint": fingerprint,
        "tfvlad.views": views,
        "tfvlad.local_features": json.dumps(local_features),
    }


def table(
    paths: Sequence[str],
    digests: Sequence[bytes | None],
    results: Sequence[Encoded | str],
    views: Sequence[str],
    dim: int,
) -> pyarrow.Table:
    """Makes the rows of some images; see the module.

    Args:
      paths: n paths.
      digests: the SHA-256 of each file, where it could be read.
      results: what is kept of each, or why it cannot be used.
      views: the names of the views that were encoded.
      dim: length of a descriptor.
    """
    import pyarrow as pa

    rows: dict[str, list[Any]] = {name: [] for name in ("path", "sha256", "view", "local_features", "error")}
    vectors, missing = [], []
    for path, digest, result in zip(paths, digests, results, strict=True):
        found: list[tuple[str | None, Any]] = [(None, np.zeros(dim, np.float32))]
        if not isinstance(result, str):
            found = list(zip(views, result.descriptors, strict=True))
        for number, (view, vector) in enumerate(found):
            local = result.local if isinstance(result, Encoded) and not number else None
            error = result if isinstance(result, str) else None
            for name, value in zip(rows, (path, digest, view, local, error), strict=True):
                rows[name].append(value)
            vectors.append(vector)
            missing.append(view is None)
    flat = pa.array(np.concatenate(vectors) if vectors else np.zeros(0, np.float32), pa.float32())
    descriptors = pa.FixedSizeListArray.from_arrays(flat, dim, mask=pa.array(missing, pa.bool_()))
    return pa.table(
        {
            "path": pa.array(rows["path"], pa.string()),
            "sha256": pa.array(rows["sha256"], pa.binary(32)),
            "view": pa.array(rows["view"], pa.string()),
            "descriptor": descriptors,
            "local_features": pa.array(rows["local_features"], pa.binary()),
            "error": pa.array(rows["error"], pa.string()),
        }
    )
