"""Exports an encoder, with an index or without, as a SavedModel: from image files to descriptors and to hits."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfvlad.encoding.encoder import Encoder
from tfvlad.encoding.features import batch_size
from tfvlad.errors import ArtifactError, ConfigError, MismatchError
from tfvlad.serving._indexed_descriptors import IndexedDescriptors
from tfvlad.serving._protos import predict_request, prediction_log
from tfvlad.serving._requests import MOST_HITS
from tfvlad.serving._signatures import Served
from tfvlad.storage.atomic import atomic_folder
from tfvlad.version import __version__

if TYPE_CHECKING:
    from tfvlad.index import Index

# TensorFlow Serving looks for its warm-up requests under this name, and leaves other files beside it alone.
_EXTRA, _WARMUP, _DESCRIPTION = "assets.extra", "tf_serving_warmup_requests", "tfvlad.json"

_SIGNATURES = {
    "serving_default": "image_bytes: string [n] -> descriptor: float32 [n, dim], valid: bool [n]; "
    "an image that cannot be used has a descriptor of zeros and valid=false",
    "images": "images: uint8 [n, H, W, 3], upright RGB -> descriptor: float32 [n, dim]",
    "local_features": "image_bytes: string [n] -> features: float32 [n, h, w, C], unit length per cell, "
    "grid: int32 [n, 2], the (h, w) of each image, beyond which there are zeros; (0, 0) for one that cannot be used; "
    "and of the same forward pass descriptor and valid, as above; fingerprint: string [n]",
    "info": "probe: string [n] (any) -> fingerprint: string [n], dim: int32 [n], label: string [n], "
    "signature: string [n], the name of the one that only this encoder has",
}


_SEARCH = (
    f"image_bytes: string [n], k: int32 [n], 1 to {MOST_HITS} -> paths: string [n, m], scores: float32 [n, m] and ids: "
    "int32 [n, m], the files with the best cosines, best first, where m is the largest k, or the number of files; "
    "found: int32 [n], how many of them are hits, behind which there is nothing; valid: bool [n]; fingerprint: string "
    "[n]; index: string [n], the version of what is searched"
)


def saved_model(
    encoder: Encoder,
    path: str | os.PathLike[str],
    version: int | None = None,
    xla: bool = False,
    index: Index | None = None,
) -> str:
    """Writes a version of a SavedModel, whole or not at all. Where it is loaded, it needs nothing but TensorFlow.

    These are its signatures, where a request holds n images of any sizes and formats. There may be 1024 of them;
    where one output of so many would take more than half a GiB there may be fewer, but always 16. A request of more
    fails, so a server must not batch more together. Files that are no images by their first bytes cost nothing.

    - ``serving_default``: image_bytes (n,) string -> descriptor (n, dim) float32, valid (n,) bool. An image that cannot
      be used has a descriptor of zeros and valid=false; its neighbours are not affected.
    - ``images``: images (n, H, W, 3) uint8, upright RGB -> descriptor (n, dim) float32.
    - ``local_features``: image_bytes (n,) string -> features (n, h, w, C) float32, unit length per cell, and grid
      (n, 2) int32, the (h, w) of each image, beyond which there are zeros; (0, 0) for an image that cannot be used.
      Of the same forward pass come descriptor and valid, as above, and fingerprint (n,) string, the encoder's.
    - ``LABEL_FINGERPRINT``, with the first 12 digits of the fingerprint: the same as ``serving_default``. Whoever asks
      for it by this name gets this encoder's descriptors, or none, whatever is served under the model's name by then.
    - ``info``: probe (n,) string, anything -> fingerprint (n,) string, dim (n,) int32, label (n,) string, signature
      (n,) string, the name above. It answers with a row for each row of its input, because TensorFlow Serving batches
      the requests of every signature.

    With an index there is one more, of at most 256 images, which needs no other service and no other file:

    - ``search``: image_bytes (n,) string, k (n,) int32 -> paths (n, m) string, scores (n, m) float32 and ids (n, m)
      int32: the files that `tfvlad.Index.search` finds with ``exact=True, verify=0, query_views="whole"``, best first,
      for m the largest k. The first found (n,) int32 of each row are meant; an image that cannot be used finds none.
      Of the same forward pass comes valid, as above. fingerprint (n,) and index (n,) string tell the encoder and the
      version of the index. The descriptors take 2 bytes for each number, and ids are those of the index.

    Args:
      encoder: what to export.
      path: the model's folder, whose sub-folders are its versions; its name is the model's name in warm-up requests.
      version: the new version's number; None takes the one after the highest that is there.
      xla: compile the network for each number of images that comes together, when it first does. The server must have
        XLA for its device: for GPUs it has.
      index: what ``search`` finds, as it is now; made with the same encoder.

    Returns:
      The version's folder. Beside the model it holds `assets.extra/tf_serving_warmup_requests`, and
      `assets.extra/tfvlad.json`, which tells the fingerprint, the dimensions and how to call the model.

    Raises:
      ArtifactError: that version, or a file at `path`, exists already.
      ConfigError: `version` is not a positive number, or the index is empty.
      MismatchError: the index was made with another encoder.
    """
    if index is not None and index.fingerprint != encoder.fingerprint:
        raise MismatchError(
            f"the index was made with the encoder {index.fingerprint[:12]}, not {encoder.fingerprint[:12]}, so its "
            "descriptors cannot be compared with those of the exported model"
        )
    model = os.path.abspath(path)
    target = os.path.join(model, str(_next_version(model) if version is None else _checked(version)))
    if os.path.lexists(target):
        raise ArtifactError(target, "exists already; versions are not overwritten, give another number")
    label = _label(encoder)
    name = f"{label}_{encoder.fingerprint[:12]}"
    held = None if index is None else IndexedDescriptors(index.contents())
    served = Served(encoder, label, name, xla, held)
    try:
        with atomic_folder(target, replace=False) as folder:
            tf.saved_model.save(served, folder, served.functions)
            extra = os.path.join(folder, _EXTRA)
            os.mkdir(extra)
            together = batch_size(encoder.config.image_size)
            _write_warmup(os.path.join(extra, _WARMUP), os.path.basename(model), name, together, held is not None)
            _write_description(os.path.join(extra, _DESCRIPTION), encoder, label, name, served)
    except FileExistsError:
        raise ArtifactError(target, "appeared while it was being written, and is not overwritten") from None
    return target


def _next_version(model: str) -> int:
    try:
        names = os.listdir(model)
    except FileNotFoundError:
        return 1
    except NotADirectoryError:
        raise ArtifactError(model, "is a file; give the folder that holds, or is to hold, the versions") from None
    return 1 + max((int(name) for name in names if name.isascii() and name.isdecimal()), default=0)


def _checked(version: int) -> int:
    if version < 1:
        raise ConfigError(f"version must be 1 or more, got {version}")
    return version


def _label(encoder: Encoder) -> str:
    config = encoder.config
    backbone = os.path.splitext(os.path.basename(config.backbone))[0]
    encoding = [] if config.encoding == "vlad" else [config.encoding]
    parts = (backbone, config.layer, *encoding, f"{config.image_size}px", config.resize, f"{encoder.dim}d")
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(map(str, parts)))


def _write_warmup(path: str, model: str, name: str, together: int, searches: bool) -> None:
    """Writes requests that TensorFlow Serving answers before it says that it is ready: one image, and a full batch."""
    blocks = np.random.default_rng(0).integers(0, 255, (15, 20, 3), np.uint8)
    pixels = blocks.repeat(32, axis=0).repeat(32, axis=1)
    jpeg = tf.io.encode_jpeg(pixels).numpy()
    batches = [np.array([jpeg] * count, object) for count in sorted({1, together})]
    requests: list[tuple[str, dict[str, NDArray[Any]]]] = [
        *((signature, {"image_bytes": batch}) for signature in ("serving_default", name) for batch in batches),
        ("local_features", {"image_bytes": batches[0]}),
        ("images", {"images": pixels[np.newaxis]}),
        ("info", {"probe": np.array([b""], object)}),
    ]
    if searches:
        requests += [("search", {"image_bytes": batch, "k": np.full(len(batch), 10, np.int32)}) for batch in batches]
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(predict_request(model, signature, inputs)))


def _write_description(path: str, encoder: Encoder, label: str, name: str, served: Served) -> None:
    told = {**_SIGNATURES, name: "the same as serving_default, under a name that only this encoder has"}
    if served.index is not None:
        told["search"] = _SEARCH
    description: dict[str, Any] = {
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "label": label,
        "image_size": encoder.config.image_size,
        "resize": encoder.config.resize,
        "precision": encoder.config.precision,
        "signatures": {signature: f"{text}; n is {served.most[signature]} at most" for signature, text in told.items()},
        "most": dict(served.most),
        "versions": {"tfvlad": __version__, "tensorflow": tf.__version__},
    }
    if served.index is not None:
        held = served.index
        description["index"] = {"version": held.version, "files": held.files, "views": held.views}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(description, file, indent=2)
        file.write("\n")
