"""Encoders and indexes in a model server: the SavedModel that is exported, and the clients that ask a server.

A `tfvlad.Encoder`, with a `tfvlad.Index` or without, enters and a SavedModel leaves; images enter a `RemoteEncoder` and
descriptors leave it, or hits a `RemoteIndex`. This package may import `index`, `encoding`, `networks`, `images` and
`storage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfvlad.encoding.interface import AnyEncoder, load_folder
from tfvlad.errors import ConfigError

if TYPE_CHECKING:
    from tfvlad.serving.client import RemoteEncoder
    from tfvlad.serving.remote_index import RemoteIndex

__all__ = ["RemoteEncoder", "RemoteIndex", "load_encoder"]


def load_encoder(source: str, max_pixels: int | None = None) -> AnyEncoder:
    """Loads an encoder's folder, or gets ready to ask a served one.

    Args:
      source: a folder, or a URL; see `tfvlad.serving.RemoteEncoder`.
      max_pixels: see `tfvlad.Encoder.load`.

    Raises:
      ArtifactError, WeightsError, MismatchError: see `tfvlad.Encoder.load`.
      ConfigError: the URL has another form than a served encoder's, `max_pixels` is given for a served encoder, which
        keeps its own, or the folder is that of a served encoder.
    """
    if "://" not in source:
        return load_folder(source, max_pixels)
    from tfvlad.serving.client import RemoteEncoder

    if max_pixels is not None:
        raise ConfigError(f"{source} is served elsewhere, where max_pixels is what it was exported with")
    return RemoteEncoder(source)


def __getattr__(name: str) -> Any:
    if name == "RemoteEncoder":  # which imports TensorFlow
        from tfvlad.serving.client import RemoteEncoder

        return RemoteEncoder
    if name == "RemoteIndex":
        from tfvlad.serving.remote_index import RemoteIndex

        return RemoteIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
