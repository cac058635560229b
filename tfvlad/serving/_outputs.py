"""What the answer of a model server may hold: it bounds an answer before it is read, and judges it afterwards.

A server is somebody else's program. Its answer is read only as far as an honest one can be long, into arrays whose
shapes are known before, and everything else in it is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ServingError

Kind = Literal["float", "int", "bool", "text"]

LONGEST_TEXT = 1024  # characters of a text in an answer
_LONGEST_QUOTE = 300  # characters of what a server said


class UnavailableError(ServingError):
    """The server does not answer, or says that it cannot at the moment. Only this failure is worth another try."""


class Output(NamedTuple):
    """One named array that an answer has.

    Attributes:
      kind: of its values; numbers are float32 and int32 on the server.
      shape: its lengths; None stands for one that the server chooses.
      free: values in the array at most, where the server chooses a length.
      optional: whether the answer may lack it.
    """

    kind: Kind
    shape: tuple[int | None, ...]
    free: int = 0
    optional: bool = False

    @property
    def most(self) -> int:
        """Values in the array, at most."""
        return self.free if None in self.shape else math.prod(length or 0 for length in self.shape)

    def check_shape(self, found: tuple[int, ...]) -> None:
        """Makes sure that an array of this shape is the expected one, before memory is allocated for it.

        Raises:
          ValueError: it is not, or it is too large.
        """
        fits = len(found) == len(self.shape) and all(
            length == wanted if wanted is not None else length >= 0
            for length, wanted in zip(found, self.shape, strict=True)
        )
        if not fits or math.prod(found) > self.most:
            wanted = ", ".join("any" if length is None else str(length) for length in self.shape)
            raise ValueError(f"has the shape {quoted(str(found))}, not ({wanted}) with {self.most} values at most")


Outputs = Mapping[str, Output]
Arrays = dict[str, npt.NDArray[Any]]


def check_names(found: list[str], expected: Outputs) -> None:
    """Makes sure that an answer has the outputs that it must have, each once, and no others.

    Raises:
      ValueError: it has not.
    """
    for name in found:
        if name not in expected:
            raise ValueError(f"there is an output '{quoted(name)}', which an exported encoder does not have")
        if found.count(name) > 1:
            raise ValueError(f"the output {name!r} comes twice")
    for name, output in expected.items():
        if name not in found and not output.optional:
            raise ValueError(f"there is no output {name!r}")


def checked_values(array: npt.NDArray[Any], kind: Kind) -> npt.NDArray[Any]:
    """Returns the array if its values can be used.

    Raises:
      ValueError: a number is not finite, or a text is too long.
    """
    if kind == "float" and not np.isfinite(array).all():
        raise ValueError("has NaN or infinite values")
    if kind == "text" and any(len(text) > LONGEST_TEXT for text in array.ravel()):
        raise ValueError(f"has a text of more than {LONGEST_TEXT} characters")
    return array


def quoted(said: str | None) -> str:
    """What a server said, as one line of bounded length whose characters can all be printed."""
    text = re.sub(r"\s+", " ", (said or "")[: 4 * _LONGEST_QUOTE]).strip()
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )[:_LONGEST_QUOTE]
