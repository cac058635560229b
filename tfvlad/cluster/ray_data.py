"""Encoding a Ray Dataset of image files: `encode` gives a Dataset of rows, `encode_to_parquet` stores them."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from tfvlad.cluster._worker import BATCH, RayWorker, packed, require_ray
from tfvlad.cluster.parquet import SUFFIX, metadata, require_pyarrow
from tfvlad.config import LOCAL_FEATURES
from tfvlad.errors import ArtifactError
from tfvlad.images.views import parse_views

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder


def encode(
    dataset: Any,
    encoder: AnyEncoder,
    *,
    views: str = "whole",
    local_features: int = LOCAL_FEATURES,
    workers: int | tuple[int, int] = 1,
    cpus: float = 1,
    gpus: float = 0,
    batch: int = BATCH,
) -> Any:
    """Encodes the images of a Ray Dataset, in actors that each hold the encoder.

    An actor that dies, alone or with its machine, costs the batch that it was at: Ray starts another one and repeats
    that. An image that cannot be used becomes a row with an ``error``, and does not stop the rest.

    Example:
      >>> files = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
      >>> encode(files, tfvlad.Encoder.load("photos.encoder"), workers=(2, 16)).take(1)

    Args:
      dataset: with a column ``path``, of files on the machines or what pyarrow reaches (``s3://``, ``gs://``), or
        ``bytes``, or both.
      encoder: what encodes; it is sent to the machines.
      views: see `tfvlad.Index.create`.
      local_features: likewise.
      workers: the number of actors, or the fewest and the most.
      cpus: cores of each.
      gpus: GPUs of each.
      batch: images that are given to an actor at once.

    Returns:
      A Ray Dataset with the columns of `tfvlad.cluster.parquet`.

    Raises:
      ConfigError: Ray is not installed, or a setting cannot work.
    """
    ray = require_ray()
    parse_views(views)
    files = ray.put(packed(encoder))
    return dataset.map_batches(
        RayWorker,
        fn_constructor_args=([files], encoder.fingerprint, views, local_features, max(1, int(cpus))),
        batch_size=batch,
        num_cpus=cpus if not gpus else None,
        num_gpus=gpus or None,
        compute=_strategy(ray, workers),
        batch_format="numpy",
        max_restarts=-1,
        max_task_retries=-1,
    )


def encode_to_parquet(dataset: Any, encoder: AnyEncoder, folder: str, **settings: Any) -> int:
    """Encodes the images of a Ray Dataset into a Parquet data set; a run that was stopped goes on.

    Args:
      dataset: see `encode`; it needs the column ``path``, by which a later run knows what is done.
      encoder: likewise.
      folder: where the parts are written, one after the other and each whole; a path, or a URI of what pyarrow reaches.
      settings: of `encode`.

    Returns:
      The number of images that were encoded now, those that cannot be used among them.

    Raises:
      ConfigError: see `encode`.
      ArtifactError: the folder holds a data set of another encoder, or with other settings.
    """
    require_ray()
    require_pyarrow()
    from pyarrow import fs, parquet

    system, place = (
        fs.FileSystem.from_uri(folder) if "://" in folder else (fs.LocalFileSystem(), os.path.abspath(folder))
    )
    told = metadata(encoder.fingerprint, settings.get("views", "whole"), settings.get("local_features", LOCAL_FEATURES))
    system.create_dir(place, recursive=True)
    done: set[str] = set()
    for part in system.get_file_info(fs.FileSelector(place)):
        if part.path.endswith(SUFFIX):
            held = parquet.read_table(part.path, columns=["path"], filesystem=system)
            if {name.decode(): value.decode() for name, value in (held.schema.metadata or {}).items()} != told:
                raise ArtifactError(folder, "holds images of another encoder, or with other views or local features")
            done |= set(held["path"].to_pylist())
    if done:
        dataset = dataset.filter(lambda row: row["path"] not in done)
    count = 0
    for rows in encode(dataset, encoder, **settings).iter_batches(batch_size=None, batch_format="pyarrow"):
        name = hashlib.sha256("\0".join(rows["path"].to_pylist()).encode()).hexdigest()[:32]
        temporary, target = f"{place}/{name}.partial", f"{place}/{name}{SUFFIX}"
        parquet.write_table(rows.replace_schema_metadata(told), temporary, filesystem=system)
        system.move(temporary, target)
        count += len(set(rows["path"].to_pylist()))
    return count


def _strategy(ray: Any, workers: int | tuple[int, int]) -> Any:
    if isinstance(workers, int):
        return ray.data.ActorPoolStrategy(size=workers)
    return ray.data.ActorPoolStrategy(min_size=workers[0], max_size=workers[1])
