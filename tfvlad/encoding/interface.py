"""What an index needs of any encoder, and how the encoder in a folder is loaded."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.views import Description, ViewsDescription
from tfvlad.errors import ConfigError, ImageError
from tfvlad.images.views import View

__all__ = ["REMOTE", "AnyEncoder", "Description", "ViewsDescription", "load_folder"]

REMOTE = "remote.json"  # in the folder of an encoder that is served elsewhere


class AnyEncoder(Protocol):
    """An encoder of either kind: a `tfvlad.Encoder`, or a `tfvlad.serving.RemoteEncoder`."""

    @property
    def dim(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def image_size(self) -> int: ...  # pixels that an image's longest side is made to have; of a served one, a guess

    @property
    def max_pixels(self) -> int: ...  # of an image that is decoded here, see `tfvlad.EncoderConfig`

    def encode(self, sources: Any) -> npt.NDArray[np.float32]: ...

    def encode_stream(self, sources: Iterable[Any]) -> Generator[npt.NDArray[np.float32] | ImageError]: ...

    def describe_stream(self, sources: Iterable[Any]) -> Generator[Description | ImageError]: ...

    def describe_views(
        self, sources: Iterable[Any], views: Sequence[View], scale: float = 1.0
    ) -> Generator[ViewsDescription | ImageError]: ...

    def save(self, path: str | os.PathLike[str]) -> None: ...


def load_folder(folder: str, max_pixels: int | None = None) -> AnyEncoder:
    """Loads the encoder that a folder holds.

    A folder that only stands for a served encoder, such as an index's copy of one, is refused: whoever made the folder
    would choose the server that images are sent to.

    Args:
      folder: the encoder's folder.
      max_pixels: see `tfvlad.Encoder.load`.

    Raises:
      ArtifactError, WeightsError, MismatchError: see `tfvlad.Encoder.load`.
      ConfigError: the encoder is served elsewhere.
    """
    if os.path.lexists(os.path.join(folder, REMOTE)):
        raise ConfigError(
            f"{folder} is of an encoder that is served elsewhere; give its URL as the encoder (--encoder)"
        )
    from tfvlad.encoding.encoder import Encoder

    return Encoder.load(folder, max_pixels)
