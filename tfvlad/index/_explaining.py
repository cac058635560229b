"""Explanations of hits: the match as a person can look at it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfvlad.errors import ImageError
from tfvlad.index.reranking import Candidate, Query
from tfvlad.matching.explanation import Explanation, outline
from tfvlad.matching.verdict import Calibration, Verdict
from tfvlad.matching.verification import Match

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder

Pixels = NDArray[np.uint8]
Shares = NDArray[np.float64]

_DRAWN = 960  # pixels of a picture's longest side, at least, where the picture has them


@dataclasses.dataclass(frozen=True, eq=False)
class HitExplanation(Explanation):
    """Why a query matches an indexed file. Beside what `tfvlad.matching.Explanation` tells, it holds:

    Attributes:
      path: the file.
      verdict: see `tfvlad.index.Hit`.
      probability: likewise.
      query_pixels: (H, W, 3) uint8 RGB, the query's picture, upright; where a box of it was searched for, that.
      found_pixels: likewise, of the file.
      query_shares: (h, w) float64, what each cell of the query's picture adds to the cosine of the two pictures'
        descriptors, which is their sum; None where that is not known.
      found_shares: likewise, of the file.
    """

    path: str
    verdict: Verdict
    probability: float
    query_pixels: Pixels
    found_pixels: Pixels
    query_shares: Shares | None = None
    found_shares: Shares | None = None

    def to_png(self, side: int = 480) -> bytes:
        """Draws both pictures, the cells that agree joined by lines, and the outlines; see `draw_matches`."""
        from tfvlad.matching.drawing import draw_matches

        return draw_matches(self.query_pixels, self.found_pixels, self, side)

    def __repr__(self) -> str:
        """The explanation in one line."""
        return f"<HitExplanation of {self.path!r}: {self.verdict}, {len(self.cells)} local features agree>"

    def _repr_jpeg_(self) -> bytes:
        """The drawing, for a notebook."""
        small = io.BytesIO()
        Image.open(io.BytesIO(self.to_png())).save(small, "JPEG", quality=85)
        return small.getvalue()


def explain_match(
    query: Query,
    found: Candidate,
    match: Match | None,
    calibration: Calibration,
    encoder: Callable[[], AnyEncoder],
    shares: bool,
) -> HitExplanation:
    """Makes the explanation of a match.

    Args:
      query: what was searched for.
      found: the indexed image.
      match: what agrees; None where that could not be found out.
      calibration: what numbers of inliers mean.
      encoder: gives the encoder.
      shares: whether to split the cosine.

    Raises:
      ImageError: one of the pictures cannot be read.
    """
    match = match or Match(cells=np.zeros((0, 2, 2), np.float32))
    there = back = None
    if match.transform is not None:
        view = query.views[max(found.query_view, 0)]
        there, back = outline(match.transform, view.box), outline(np.linalg.inv(match.transform).astype(np.float64))
    split = _shares(query.source, found.path, encoder()) if shares else (None, None)
    max_pixels = encoder().max_pixels
    return HitExplanation(
        match,
        there,
        back,
        found.path,
        calibration.verdict(match.inliers),
        calibration.probability(match.inliers),
        _pixels(query.source, max_pixels),
        _pixels(found.path, max_pixels),
        *split,
    )


def _pixels(source: Any, max_pixels: int) -> Pixels:
    from tfvlad.images.crops import read_upright  # imports TensorFlow
    from tfvlad.images.loading import rgb_pixels

    if isinstance(source, np.ndarray):
        return np.asarray(rgb_pixels(source))
    return read_upright(source if isinstance(source, bytes) else str(source), max_pixels, _DRAWN)


def _shares(query: Any, found: str, encoder: AnyEncoder) -> tuple[Shares | None, Shares | None]:
    """Splits the cosine of two pictures, as wholes, into the shares of their cells."""
    from tfvlad.encoding.encoder import Encoder
    from tfvlad.matching.shares import vlad_shares

    if not isinstance(encoder, Encoder) or getattr(encoder, "codebook", None) is None:
        return None, None
    described = list(encoder.describe_stream([query, found]))
    split: list[Shares | None] = []
    for one, other in zip(described, described[::-1], strict=True):
        if isinstance(one, ImageError):
            raise one
        if isinstance(other, ImageError):
            raise other
        height, width, channels = one.features.shape
        whitening = encoder.whitening.folded() if encoder.whitening else None
        config = encoder.config
        cells = one.features.reshape(height * width, channels)
        assert encoder.codebook is not None  # it was looked at above
        parts = vlad_shares(cells, other.descriptor, encoder.codebook, whitening, config.intra_norm, config.power)
        split.append(parts.reshape(height, width))
    return split[0], split[1]
