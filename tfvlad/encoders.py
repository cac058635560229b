"""Encoders of either kind: loaded here, or served elsewhere."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ConfigError

if TYPE_CHECKING:
    from tfvlad.errors import ImageError

REMOTE = "remote.json"  # in the folder of an encoder that is served elsewhere


class AnyEncoder(Protocol):
    """What an index and its queries need of an encoder; see `tfvlad.Encoder`."""

    @property
    def dim(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def max_pixels(self) -> int: ...  # of an image that is decoded here, see `tfvlad.EncoderConfig`

    def encode(self, sources: Any) -> npt.NDArray[np.float32]: ...

    def encode_stream(self, sources: Iterable[Any]) -> Generator[npt.NDArray[np.float32] | ImageError]: ...

    def save(self, path: str | os.PathLike[str]) -> None: ...


def load_encoder(source: str, max_pixels: int | None = None) -> AnyEncoder:
    """Loads an encoder's folder, or gets ready to ask a served one.

    The folder of a served encoder, such as an index's copy, is not enough: whoever made it would choose where the
    images are sent.

    Args:
      source: a folder, or a URL; see `tfvlad.serving.RemoteEncoder`.
      max_pixels: see `tfvlad.Encoder.load`.

    Raises:
      ArtifactError, WeightsError, MismatchError: see `tfvlad.Encoder.load`.
      ConfigError: a URL that is none of a served encoder, `max_pixels` for one, which keeps its own, or its folder.
    """
    if "://" in source:
        from tfvlad.serving import RemoteEncoder

        if max_pixels is not None:
            raise ConfigError(f"{source} is served elsewhere, where max_pixels is what it was exported with")
        return RemoteEncoder(source)
    if os.path.lexists(os.path.join(source, REMOTE)):
        raise ConfigError(
            f"{source} is of an encoder that is served elsewhere; give its URL as the encoder (--encoder)"
        )
    from tfvlad.encoder import Encoder

    return Encoder.load(source, max_pixels)
