"""The explanation page: why a query and a found picture are taken to show the same, or not, to be seen at a glance."""

from __future__ import annotations

import base64
import colorsys
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from tfvlad.images.thumbnails import Thumbnail, as_thumbnail
from tfvlad.matching.explanation import pose
from tfvlad.matching.verification import Match
from tfvlad.reports._page import write_page

Floats: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.float64]"
Pixels = npt.NDArray[np.uint8]

SIDE = 560  # pixels; the longest side of each picture
MOST_LINES = 120  # more would hide what they join
_GAP = 16.0  # between the pictures
_FARTHEST = 20.0  # pictures; corners farther out are moved in
_WARM, _COLD = (255, 140, 0), (40, 110, 255)  # cells that speak for the match, and against it
_FULL = 98  # percentile of the shares from which on a cell has its full colour

VERDICTS = {
    "same": "The same",
    "likely": "Likely the same",
    "unsure": "Unsure",
    "different": "Probably not the same",
}


class Explanation(Protocol):
    """What is known of a match, such as `tfvlad.Index.explain` returns."""

    @property
    def match(self) -> Match: ...
    @property
    def cells(self) -> npt.NDArray[np.float32]: ...
    @property
    def path(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def probability(self) -> float: ...
    @property
    def query_pixels(self) -> Pixels: ...
    @property
    def found_pixels(self) -> Pixels: ...
    @property
    def query_outline(self) -> npt.NDArray[np.float64] | None: ...
    @property
    def found_outline(self) -> npt.NDArray[np.float64] | None: ...
    @property
    def query_shares(self) -> npt.NDArray[np.float64] | None: ...
    @property
    def found_shares(self) -> npt.NDArray[np.float64] | None: ...


class Picture(NamedTuple):
    """One of the two pictures.

    Attributes:
      path: its file.
      pixels: (H, W, 3) uint8 RGB, upright; where only a part of it was searched for, that.
      outline: (P, 2), the corners of the other picture in this one, as fractions of its width and height; None where
        nothing agrees.
      shares: (h, w), how much each cell of it adds to the cosine of the two descriptors; None where that is not known.
    """

    path: str
    pixels: Pixels
    outline: Floats | None = None
    shares: Floats | None = None


class ExplainedMatch(NamedTuple):
    """What a page tells of a match.

    Attributes:
      query: what was searched for.
      found: what was found.
      cells: (M, 2, 2), positions in the query and in the found picture of the local features that agree, as fractions.
      transform: (3, 3), takes (x, y, 1) in the query to the found picture; None where nothing agrees.
      verdict: ``same``, ``likely``, ``unsure`` or ``different``.
      probability: that neither chance nor resemblance explains the match.
    """

    query: Picture
    found: Picture
    cells: Floats
    transform: Floats | None
    verdict: str
    probability: float

    @classmethod
    def of(cls, query: str, explanation: Explanation) -> ExplainedMatch:
        """What a page tells of an explanation.

        Args:
          query: the query's file, or what stands for it.
          explanation: see `tfvlad.Index.explain`.
        """
        return cls(
            # An outline is in the picture on which it is drawn.
            Picture(query, explanation.query_pixels, explanation.found_outline, explanation.query_shares),
            Picture(explanation.path, explanation.found_pixels, explanation.query_outline, explanation.found_shares),
            explanation.cells,
            explanation.match.transform,
            explanation.verdict,
            explanation.probability,
        )

    @property
    def cosine(self) -> float | None:
        """The cosine of the two descriptors, which is the sum of the shares; None where it is not known."""
        shares = self.query.shares if self.query.shares is not None else self.found.shares
        return None if shares is None else float(shares.sum())


class Place(NamedTuple):
    """Where a picture lies in a drawing, in units of its view box."""

    x: float
    y: float
    width: float
    height: float


class Line(NamedTuple):
    """A line that joins two places that agree, in units of the view box."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str


class Drawing(NamedTuple):
    """Both pictures, side by side or one above the other.

    Attributes:
      kind: ``wide`` or ``tall``.
      width: of the view box.
      height: of the view box.
      query: where the query lies.
      found: where the found picture lies.
      lines: between the local features that agree.
      query_outline: the points of a polygon over the query, as SVG writes them; None for no polygon.
      found_outline: likewise, over the found picture.
    """

    kind: str
    width: float
    height: float
    query: Place
    found: Place
    lines: Sequence[Line]
    query_outline: str | None
    found_outline: str | None


class Seen(NamedTuple):
    """A match, ready to be drawn.

    Attributes:
      pictures: ``query`` and ``found`` -> a small copy.
      drawings: for a wide page and for a narrow one.
      agree: how many local features agree.
      drawn: for how many of them there is a line.
    """

    pictures: Mapping[str, Thumbnail]
    drawings: Sequence[Drawing]
    agree: int
    drawn: int


def write_explanation_page(path: str | os.PathLike[str], match: ExplainedMatch) -> None:
    """Writes the page that explains a match.

    Both pictures stand side by side, on a narrow screen one above the other. Lines join what agrees, an outline shows
    where one picture lies in the other, and below, cells are coloured by what they add to the descriptors' cosine. Like
    the results page it is one file that runs no script and loads nothing.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      match: what is explained.

    Raises:
      OSError: the file cannot be written.
    """
    shown = seen(match)
    query, found = ((small.width, small.height) for small in shown.pictures.values())
    names = " and ".join(os.path.basename(picture.path) for picture in (match.query, match.found))
    write_page(
        path,
        "explanation_page.html.j2",
        {},
        title=f"{VERDICTS[match.verdict]}: {names}",
        notes=notes(match, query, found),
        metrics={
            "verdict": match.verdict,
            "probability": written_probability(match.probability),
            "local features agree": str(len(match.cells)),
            **({} if match.cosine is None else {"cosine of the whole pictures": match.cosine}),
        },
        match=match,
        seen=shown,
        heat={"query": _heat(match.query.shares), "found": _heat(match.found.shares)},
    )


def seen(match: ExplainedMatch, side: int = SIDE, most_lines: int = MOST_LINES) -> Seen:
    """Prepares a match for being drawn.

    Args:
      match: what is explained.
      side: pixels; the longest side of the copies of the pictures.
      most_lines: how many lines may be drawn.
    """
    pictures = {
        which: as_thumbnail(Image.fromarray(one.pixels), side)
        for which, one in (("query", match.query), ("found", match.found))
    }
    chosen = chosen_lines(match.cells, most_lines)
    sizes = [(small.width, small.height) for small in pictures.values()]
    drawings = [_drawn(match, chosen, kind, sizes) for kind in ("wide", "tall")]
    return Seen(pictures, drawings, len(match.cells), len(chosen))


def notes(match: ExplainedMatch, query_size: tuple[int, int], found_size: tuple[int, int]) -> list[str]:
    """Says in words what was found: what agrees, and how the query lies in the found picture.

    Args:
      match: what is explained.
      query_size: width and height of the query, in any unit.
      found_size: width and height of the found picture, in any unit.
    """
    count = len(match.cells)
    if match.transform is None or not count:
        return ["No local features of the two pictures agree under one transform."]
    agree = f"{count} local features agree under one transform"
    chance = {
        "same": f"{agree}, far more than chance or mere resemblance brings about.",
        "likely": f"{agree}, more than chance or mere resemblance usually brings about.",
        "unsure": f"{agree}, which chance or resemblance may have brought about.",
        "different": f"{agree}, no more than chance or resemblance brings about.",
    }[match.verdict]
    if match.verdict == "different":
        return [chance]
    return [chance, in_words(match.transform, query_size, found_size)]


def in_words(transform: Floats, query_size: tuple[int, int], found_size: tuple[int, int]) -> str:
    """Says how the query lies in the found picture, for both drawn with longest sides of equal length."""
    turn, scale, stretch = pose(np.asarray(transform, np.float64), query_size, found_size)
    degrees = round(abs(turn))
    parts = [f"turned by {degrees}° {'clockwise' if turn > 0 else 'counter-clockwise'}" if degrees else "upright"]
    parts.append("equally large" if f"{scale:.2f}" == "1.00" else f"{scale:.2f} times as large")
    if stretch > 1.15:
        parts.append(f"seen at a slant (stretched {stretch:.1f} times)")
    return f"In the found picture, the query is {', '.join(parts[:-1])} and {parts[-1]}."


def written_probability(probability: float) -> str:
    """Writes a probability with as many digits as tell it from 1: ``0.42``, ``0.9987``, ``> 0.9999``."""
    if probability > 0.9999:
        return "> 0.9999"
    return f"{math.floor(probability * 10_000) / 10_000:.4f}" if probability > 0.99 else f"{probability:.2f}"


def chosen_lines(cells: Floats, most: int = MOST_LINES) -> Floats:
    """Chooses at most so many of (M, 2, 2) cells, spread evenly over all of them."""
    if len(cells) <= most:
        return cells
    return cells[np.linspace(0, len(cells) - 1, most).round().astype(np.intp)]


def _drawn(match: ExplainedMatch, cells: Floats, kind: str, sizes: Sequence[tuple[int, int]]) -> Drawing:
    (query_width, query_height), (found_width, found_height) = (
        (width * SIDE / max(width, height), height * SIDE / max(width, height)) for width, height in sizes
    )
    if kind == "wide":
        height = max(query_height, found_height)
        query = Place(0, (height - query_height) / 2, query_width, query_height)
        found = Place(query_width + _GAP, (height - found_height) / 2, found_width, found_height)
        width = found.x + found_width
    else:
        width = max(query_width, found_width)
        query = Place((width - query_width) / 2, 0, query_width, query_height)
        found = Place((width - found_width) / 2, query_height + _GAP, found_width, found_height)
        height = found.y + found_height
    lines = [Line(*_at(query, start), *_at(found, end), _colour(start)) for start, end in cells]
    outlines = [
        None if outline is None else " ".join(f"{x:.1f},{y:.1f}" for x, y in (_at(place, point) for point in outline))
        for outline, place in ((match.query.outline, query), (match.found.outline, found))
    ]
    return Drawing(kind, width, height, query, found, lines, outlines[0], outlines[1])


def _at(place: Place, point: Floats) -> tuple[float, float]:
    x, y = (min(max(float(value), -_FARTHEST), _FARTHEST) for value in point)
    return place.x + x * place.width, place.y + y * place.height


def _colour(position: Floats) -> str:
    """A colour for a place in the query, near for places that are near each other, so that the eye can follow lines."""
    x, y = (float(value) - 0.5 for value in position)
    hue = (math.atan2(y, x) / math.tau + 0.5) * 0.9
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, 1.0))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _heat(shares: Floats | None) -> str | None:
    """Paints (h, w) shares as a PNG of as many pixels: warm where a cell speaks for the match, cold where against."""
    if shares is None or not shares.size:
        return None
    full = float(np.percentile(np.abs(shares), _FULL)) or float(np.abs(shares).max()) or 1.0
    strength = np.clip(np.abs(shares) / full, 0, 1)
    colours = np.where((shares > 0)[..., None], np.array(_WARM), np.array(_COLD))
    pixels = np.concatenate([colours, np.round(230 * strength)[..., None]], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
