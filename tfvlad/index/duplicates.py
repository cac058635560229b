"""Duplicates: indexed files that show one picture, and how each lies in another."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tfvlad.errors import Failure

Kind = Literal["reference", "same bytes", "same picture"]

_WHOLE = 0.98  # share of a picture that counts as all of it
_SAME_SCALE = 0.02  # by which a scale may differ from 1
_SAME_TURN = 1.0  # degrees


@dataclasses.dataclass(frozen=True)
class Duplicate:
    """A file of a group.

    Attributes:
      path: the full path of the file.
      id: the file's id.
      kind: ``reference`` for the file that the others are compared with: the one that is most like them, or of two the
        one with more pixels; ``same bytes`` for one with equal bytes; ``same picture`` for one that was verified
        against it.
      bytes: the file's size.
      size: (width, height) in pixels of the upright picture; None where it was not looked at, as its bytes were equal.
      inliers: local features that agree with the reference's; 0 where none are kept, or the picture is turned.
      agreement: share (0 to 1) of small blocks of pixels that agree, of those that are not of one tone.
      turn: degrees by which it is turned clockwise, above -180 and at most 180.
      scale: its pixels for one of the reference's, along a side.
      shown: share (0 to 1) of the reference's picture that it shows; less than 1 where it is cropped.
      box: that part, x, y, width and height in pixels of the reference.
    """

    path: str
    id: int
    kind: Kind
    bytes: int
    size: tuple[int, int] | None = None
    inliers: int | None = None
    agreement: float | None = None
    turn: float | None = None
    scale: float | None = None
    shown: float | None = None
    box: tuple[int, int, int, int] | None = None

    @property
    def how(self) -> str:
        """What was done to the picture, in words: ``scaled by 0.50``, ``turned by 90°``, ``shows 36 % of it``."""
        words = []
        if self.turn is not None and abs(self.turn) > _SAME_TURN:
            words.append(f"turned by {self.turn:.0f}°")
        if self.scale is not None and abs(self.scale - 1) > _SAME_SCALE:
            words.append(f"scaled by {self.scale:.2f}")
        if self.shown is not None and self.shown < _WHOLE:
            words.append(f"shows {100 * self.shown:.0f} % of it")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """What `tfvlad.Index.duplicates` found.

    Attributes:
      groups: the files of each group, its reference first, then by id; groups in the order of their references' ids.
      failed: files that could not be compared, because they are gone, have changed or cannot be read.
      pairs: how many pairs of images had descriptors that are near each other.
      notes: what was not looked for, and how it would be; sentences.
    """

    groups: list[list[Duplicate]]
    failed: list[Failure]
    pairs: int
    notes: list[str]
