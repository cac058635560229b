"""A worker: holds an encoder in a process of its own, on any machine, and makes of images what an index keeps."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfvlad.encoding.views import Encoded
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.views import WHOLE, parse_views
from tfvlad.index.compact import UPRIGHT, compact

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder

BATCH = 16  # images; what a worker that dies has done of it is done again


def require_ray() -> Any:
    """Imports Ray.

    Raises:
      ConfigError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("encoding on a cluster needs Ray: pip install 'tfvlad[ray]'")
    import ray

    return ray


def packed(encoder: AnyEncoder) -> dict[str, bytes]:
    """The files of an encoder's folder by their names, because the machines of a cluster share no disk."""
    with tempfile.TemporaryDirectory(prefix="tfvlad-") as place:
        folder = os.path.join(place, "encoder")
        encoder.save(folder)
        files = {}
        for directory, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(directory, name)
                with open(path, "rb") as file:
                    files[os.path.relpath(path, folder)] = file.read()
        return files


class Worker:
    """Encodes batches of images.

    Args:
      files: see `packed`.
      fingerprint: of the encoder that they are.
      views: see `tfvlad.images.views.parse_views`.
      cells: local features that are kept of each image, at most.
      threads: that the network uses; None leaves it to TensorFlow.
    """

    def __init__(self, files: dict[str, bytes], fingerprint: str, views: str, cells: int, threads: int | None) -> None:
        import tensorflow as tf

        from tfvlad.encoding.encoder import Encoder

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._views = parse_views(views)
        self._cells = cells
        with tempfile.TemporaryDirectory(prefix="tfvlad-") as place:
            for name, content in files.items():
                path = os.path.join(place, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(content)
            self._encoder = Encoder.load(place)
        if self._encoder.fingerprint != fingerprint:
            raise ConfigError(f"the encoder arrived as {self._encoder.fingerprint[:12]}, not {fingerprint[:12]}")

    def encode(self, contents: Sequence[bytes], views: Sequence[str] | None = None) -> list[Encoded | str]:
        """Encodes image files.

        Args:
          contents: the files.
          views: names of the views; None is what the worker was made with.

        Returns:
          For each image what is kept of it, or in one line why it cannot be used.
        """
        wanted = self._views if views is None else tuple(map(_view, views))
        # Local features are those of the whole picture, and come with its pass.
        passes = wanted if WHOLE in wanted or not self._cells else (*wanted, WHOLE)
        results: list[Encoded | str] = []
        for found in self._encoder.describe_views(contents, passes):
            if isinstance(found, ImageError):
                results.append(found.reason)
                continue
            local = None
            if self._cells:
                whole = next(one.features for one in found.passes if one.view == WHOLE)
                local = compact(whole, found.size, UPRIGHT, self._cells).to_bytes()
            results.append(Encoded(np.asarray(found.descriptors[: len(wanted)], np.float32), local))
        return results

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Encodes a batch of a Ray Dataset with the columns ``path``, ``bytes`` or both; see `ray_data.encode`."""
        from tfvlad.cluster.parquet import table

        count = len(next(iter(batch.values())))
        paths = [str(path) for path in batch.get("path", [""] * count)]
        contents: list[bytes | str] = list(batch["bytes"]) if "bytes" in batch else [_read(path) for path in paths]
        good = [content for content in contents if isinstance(content, bytes)]
        encoded = iter(self.encode(good) if good else [])
        results = [next(encoded) if isinstance(content, bytes) else content for content in contents]
        digests = [hashlib.sha256(content).digest() if isinstance(content, bytes) else None for content in contents]
        return table(paths, digests, results, [view.name for view in self._views], self._encoder.dim)


class RayWorker(Worker):
    """A `Worker` whose encoder comes out of Ray's store, in a list, as Ray would unpack an argument of its own."""

    def __init__(self, stored: list[Any], *settings: Any) -> None:
        import ray

        super().__init__(ray.get(stored[0]), *settings)


def _view(name: str) -> Any:
    from tfvlad.images.views import View

    return View.from_name(name)


def _read(path: str) -> bytes | str:
    """The bytes of a file, on this machine or on what pyarrow reaches; or why there are none."""
    from pyarrow import fs

    try:
        if "://" in path:
            system, inside = fs.FileSystem.from_uri(path)
        else:
            system, inside = fs.LocalFileSystem(), os.path.abspath(path)
        with system.open_input_stream(inside) as stream:
            return bytes(stream.read())
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())[:200]
