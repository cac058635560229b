"""The exceptions that a caller can catch.

Each message is one line that says what is wrong, where, and what would be right; the commands print it as it is.
"""

from __future__ import annotations

import dataclasses


class TfvladError(Exception):
    """Base of every error that tfvlad raises for a reason outside its own code."""


class ConfigError(TfvladError, ValueError):
    """A setting, or a combination of settings, that cannot work."""


class WeightsError(TfvladError):
    """Weights that cannot be had: not downloadable, not found, or not of this network."""


class _FileError(TfvladError):
    """One file or folder and what is wrong with it.

    Attributes:
      path: the file or folder, or what stands for it.
      reason: one line, without the path.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[_FileError], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # copied and pickled by its parts, not by its message


class ImageError(_FileError, ValueError):
    """One image that cannot be turned into a descriptor.

    Attributes:
      path: the image's path, or what stands for it (``<bytes>``, ``<array>``).
      reason: one line, without the path.
    """


class PassingImageError(ImageError):
    """One image that cannot be turned into a descriptor now, for a reason that lies outside of it.

    Such as a library that is not installed. An index does not remember it, and tries the file again the next time.

    Attributes:
      path: the image's path, or what stands for it.
      reason: one line, without the path.
    """


class ArtifactError(_FileError):
    """An encoder or index folder that is missing, damaged, or of a newer format.

    Attributes:
      path: the file or folder.
      reason: one line, without the path.
    """


class ServingError(TfvladError):
    """A model server that cannot be reached, is too slow, or does not answer as an exported encoder does."""


class MismatchError(TfvladError):
    """Two artifacts that do not belong together, such as an index and the encoder of another one."""


@dataclasses.dataclass(frozen=True, order=True)
class Failure:
    """A file or folder that could not be used, where the others could; it is reported, not raised.

    Attributes:
      path: the file or folder, or what stands for it.
      reason: one line, without the path.
    """

    path: str
    reason: str

    @classmethod
    def of(cls, error: ImageError) -> Failure:
        """The failure that an image's error tells of."""
        return cls(error.path, error.reason)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
