"""A picture of why two pictures match: both side by side, and lines between what agrees."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tfvlad.matching.explanation import Explanation

Pixels = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]

_GAP = 12  # pixels between the pictures
_MOST_LINES = 150  # more would hide what they join
_OUTLINE = (255, 40, 40, 255)
_FARTHEST = 100.0  # fractions of a picture; corners beyond are moved in, as drawing takes time by length
# Lines that are near each other in the query have colours that are near each other, so that the eye can follow them.
_HUES = 330  # degrees


def draw_matches(query_pixels: Pixels, found_pixels: Pixels, explanation: Explanation, side: int = 480) -> bytes:
    """Draws the query on the left and the found picture on the right, scaled down to fit.

    Dots are matching cells, and thin lines join them. The red outline on the right is where the query lies in the found
    picture; that on the left, where the found picture lies in the query.

    Args:
      query_pixels: (H, W, 3) uint8 RGB, upright.
      found_pixels: likewise.
      explanation: of the two.
      side: pixels that the longest side of each picture may have.

    Returns:
      The bytes of a PNG file.
    """
    query, found = (_scaled(pixels, side) for pixels in (query_pixels, found_pixels))
    height = max(query.height, found.height)
    right = query.width + _GAP
    canvas = Image.new("RGB", (right + found.width, height), "white")
    for picture, left in ((query, 0), (found, right)):
        canvas.paste(picture, (left, 0))
    for picture, left, corners in (
        (query, 0, explanation.found_outline),
        (found, right, explanation.query_outline),
    ):
        if corners is not None:
            _draw_outline(canvas, (left, 0, left + picture.width, picture.height), corners)
    lines = ImageDraw.Draw(canvas, "RGBA")
    chosen = _evenly(explanation.cells, _MOST_LINES)
    for start, end in chosen:
        x1, y1 = (float(value) for value in start * (query.width, query.height))
        x2, y2 = (float(value) for value in end * (found.width, found.height))
        colour = _colour(start)
        lines.line((x1, y1, right + x2, y2), (*colour, 110), 1)
        for x, y in ((x1, y1), (right + x2, y2)):
            lines.ellipse((x - 2, y - 2, x + 2, y + 2), (*colour, 255))
    file = io.BytesIO()
    written_by = PngInfo()
    written_by.add_text("Software", "tfvlad")  # so that a command may replace it later
    canvas.save(file, "PNG", pnginfo=written_by)
    return file.getvalue()


def _scaled(pixels: Pixels, side: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def _draw_outline(canvas: Image.Image, area: tuple[int, int, int, int], corners: Doubles) -> None:
    """Draws a polygon over a part of the canvas, and nothing of it beyond that part."""
    left, top, right, bottom = area
    part = canvas.crop(area)
    points = np.clip(corners, -_FARTHEST, _FARTHEST) * (right - left, bottom - top)
    closed = [(float(x), float(y)) for x, y in (*points, points[0])]
    ImageDraw.Draw(part, "RGBA").line(closed, _OUTLINE, 3, joint="curve")
    canvas.paste(part, (left, top))


def _evenly(cells: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """So many of the cells at most, spread over all of them."""
    if len(cells) <= count:
        return cells
    return cells[np.linspace(0, len(cells) - 1, count).round().astype(np.intp)]


def _colour(position: npt.NDArray[np.float32]) -> tuple[int, int, int]:
    """A colour for a place: its hue goes round the picture's middle."""
    x, y = (float(value) - 0.5 for value in position)
    hue = round((np.degrees(np.arctan2(y, x)) + 180) / 360 * _HUES)
    red, green, blue = Image.new("HSV", (1, 1), (hue * 255 // 360, 230, 245)).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    return int(red), int(green), int(blue)
