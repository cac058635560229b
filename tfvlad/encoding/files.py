"""The encoder's folder: it is written whole or not at all, and checked completely before anything of it is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from tfvlad.config import EncoderConfig
from tfvlad.encoding.whitening import Whitening
from tfvlad.errors import ArtifactError, ConfigError, TfvladError
from tfvlad.networks.requirements import comes_by_name
from tfvlad.storage.atomic import atomic_folder, settle
from tfvlad.storage.untrusted import read_arrays, refuse_links
from tfvlad.version import __version__

if TYPE_CHECKING:
    import keras

# The newest format that is read. 1 is a VLAD encoder, 2 has another encoding, 3 also says by how much the variances of
# its whitening were raised. What the earlier formats can say is still written in them.
FORMAT = 3

_DESCRIPTION, _CODEBOOK, _WHITENING, _BACKBONE = "encoder.json", "codebook.npz", "whitening.npz", "backbone.keras"
_TENSOR_FILES = (_CODEBOOK, _WHITENING, _BACKBONE)
_LONGEST_DESCRIPTION = 1 << 20  # bytes; a real one has a thousand
_KINDS: dict[str, type | UnionType] = {"backbone": str, "weights": str, "layer": str | None, "intra_norm": bool}
_PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")

_REPLACED_WITHIN = 0.2  # seconds in which a folder that is being replaced is there again
_TICK = 0.01

Floats = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class StoredEncoder:
    """The contents of an encoder's folder.

    Attributes:
      config: the settings.
      codebook: (K, C) float32, finite, of a VLAD; else None.
      whitening: fitted whitening, or None.
      backbone: path of the stored sub-model, or None where the network is rebuilt by its name.
      fingerprint: the encoder's fingerprint when it was saved.
    """

    config: EncoderConfig
    codebook: Floats | None
    whitening: Whitening | None
    backbone: str | None
    fingerprint: str


def write_encoder(
    path: str | os.PathLike[str],
    config: EncoderConfig,
    codebook: Floats | None,
    whitening: Whitening | None,
    network: keras.Model | None,
    fingerprint: str,
) -> None:
    """Writes an encoder's folder; an encoder that is already there is replaced.

    Args:
      path: the folder.
      config: settings.
      codebook: (K, C) float32 of a VLAD, or None.
      whitening: fitted whitening, or None.
      network: the network up to the layer, where it cannot be had again by its name; else None.
      fingerprint: the encoder's fingerprint.

    Raises:
      ArtifactError: something else is there.
    """
    check_target(path)
    settings = dataclasses.asdict(config)
    if config.encoding == "vlad":
        del settings["encoding"]  # which format 1 has no word for
    if not config.shrinkage:
        del settings["shrinkage"]  # nor has format 2
    with atomic_folder(path) as folder:
        if codebook is not None:
            np.savez(os.path.join(folder, _CODEBOOK), centroids=codebook)
        if whitening is not None:
            np.savez(os.path.join(folder, _WHITENING), **dataclasses.asdict(whitening))
        if network is not None:
            network.save(os.path.join(folder, _BACKBONE))
        description = {
            "format": 3 if config.shrinkage else 1 if config.encoding == "vlad" else 2,
            "fingerprint": fingerprint,
            "config": settings,
            "versions": {"tfvlad": __version__, **{package: version(package) for package in _PACKAGES}},
            "sha256": {name: _digest(os.path.join(folder, name)) for name in sorted(os.listdir(folder))},
        }
        with open(os.path.join(folder, _DESCRIPTION), "w", encoding="utf-8") as file:
            json.dump(description, file, indent=2)
            file.write("\n")


def check_target(path: str | os.PathLike[str]) -> None:
    """Refuses to write an encoder where something else lies, or where nothing can be written.

    Raises:
      ArtifactError: the message says which of the two is the case.
    """
    if os.path.lexists(path) and not os.path.isfile(os.path.join(path, _DESCRIPTION)):
        raise ArtifactError(os.fsdecode(path), "exists and is not an encoder; it is not overwritten")
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK):
        raise ArtifactError(os.fsdecode(path), f"cannot be written: {parent} is not a folder that you may write to")


def read_whole(path: str | os.PathLike[str], read: Callable[[], T]) -> T:
    """Reads from an encoder's folder, and again where somebody replaced the folder while it was read.

    Between the old folder and the new one there is none for a moment: a folder that is missing is waited for.

    Args:
      path: the folder.
      read: reads from it; its error counts only if the folder stayed the same.
    """
    missing_until = time.monotonic() + _REPLACED_WITHIN
    while True:
        before = _identity(path)
        try:
            result = read()
        except (TfvladError, OSError):
            if before == _identity(path) and (before or time.monotonic() > missing_until):
                raise
            time.sleep(_TICK)
            continue
        if before == _identity(path):
            return result


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    try:
        status = os.stat(os.path.join(path, _DESCRIPTION))
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def read_encoder(path: str | os.PathLike[str]) -> StoredEncoder:
    """Reads and checks an encoder's folder.

    Raises:
      ArtifactError: it is missing, of a newer format, or a file in it is not what was saved.
    """
    folder = os.fsdecode(path)
    description = _read_description(folder)
    digests = description["sha256"]
    if strangers := sorted(set(digests) - set(_TENSOR_FILES)):
        raise ArtifactError(os.path.join(folder, _DESCRIPTION), f"lists {strangers[0]!r}, which no encoder has")
    for name in _TENSOR_FILES:
        file = os.path.join(folder, name)
        if os.path.exists(file) != (name in digests):
            raise ArtifactError(file, "missing" if name in digests else "not listed in encoder.json")
        if name in digests and _digest(file) != digests[name]:
            raise ArtifactError(file, "damaged: its SHA-256 is not the one in encoder.json")
    config = _read_config(os.path.join(folder, _DESCRIPTION), description["config"], description["format"])
    if _BACKBONE not in digests and not comes_by_name(config):
        raise ArtifactError(os.path.join(folder, _BACKBONE), f"missing: {config.backbone!r} is not a network by name")
    codebook = None
    if config.encoding == "vlad":
        codebook = read_arrays(os.path.join(folder, _CODEBOOK), {"centroids": (config.clusters, None)})["centroids"]
    elif _CODEBOOK in digests:
        raise ArtifactError(os.path.join(folder, _CODEBOOK), f"no encoder with encoding {config.encoding} has one")
    whitening = None
    if config.dim is not None:
        whitening = _read_whitening(
            os.path.join(folder, _WHITENING), config.dim, None if codebook is None else codebook.size
        )
    backbone = os.path.join(folder, _BACKBONE) if _BACKBONE in digests else None
    return StoredEncoder(config, codebook, whitening, backbone, description["fingerprint"])


def _read_whitening(path: str, dim: int, size: int | None) -> Whitening:
    """Reads a whitening of vectors of `size` numbers; None is any number, but the same in all its arrays."""
    shapes = {"mean": (size,), "components": (dim, size), "variances": (dim,)}
    whitening = Whitening(**read_arrays(path, shapes))
    if whitening.components.shape[1] != len(whitening.mean):
        raise ArtifactError(path, f"mean has {len(whitening.mean)} numbers, components {whitening.components.shape[1]}")
    if not (whitening.variances > 0).all():
        raise ArtifactError(path, "variances must be above 0")
    return whitening


def _read_description(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, _DESCRIPTION)
    if not os.path.lexists(folder):
        settle(folder)  # a process died while it was replacing the folder
    try:
        if os.path.isdir(folder):
            refuse_links(folder)
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST_DESCRIPTION + 1)
        if len(text) > _LONGEST_DESCRIPTION:
            raise ArtifactError(path, f"is longer than {_LONGEST_DESCRIPTION} characters")
        description = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(folder, "not an encoder folder: there is no encoder.json in it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(path, f"damaged: {error}") from None
    found = description.get("format") if isinstance(description, dict) else None
    if type(found) is not int or found < 1:
        raise ArtifactError(path, "damaged: it has no format number")
    if found > FORMAT:
        raise ArtifactError(folder, f"format {found} is newer than this tfvlad reads ({FORMAT}); update tfvlad")
    kinds = {"fingerprint": str, "config": dict, "sha256": dict}
    wrong = [key for key, kind in kinds.items() if not isinstance(description.get(key), kind)]
    if wrong:
        raise ArtifactError(path, f"damaged: {wrong[0]} is missing or not what it should be")
    return dict(description)


def _read_config(path: str, stored: dict[str, Any], format_: int) -> EncoderConfig:
    try:
        config = EncoderConfig(**{"shrinkage": 0.0, **stored})
    except (ConfigError, TypeError) as error:
        raise ArtifactError(path, f"damaged: config: {error}") from None
    if format_ == 1 and config.encoding != "vlad":
        raise ArtifactError(path, f"damaged: config: format 1 has no encoding {config.encoding!r}")
    if format_ < 3 and config.shrinkage:
        raise ArtifactError(path, f"damaged: config: format {format_} has no shrinkage")
    wrong = [name for name, kinds in _KINDS.items() if not isinstance(getattr(config, name), kinds)]
    if wrong:
        raise ArtifactError(path, f"damaged: config: {wrong[0]} cannot be {getattr(config, wrong[0])!r:.100}")
    return config


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
