"""Views: renditions of a picture that have a descriptor each: the whole of it, turned, its middle, parts of it.

An index stores the views of its images, and a query may have views of its own; what fits best decides. Which views
there are is said by a text such as ``rotations:8,scales:2``, see `parse_views`. A kind of view is a row of `KINDS`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfvlad.errors import ConfigError

if TYPE_CHECKING:
    from tfvlad.images.sources import Source

Pixels = NDArray[np.uint8]
Affine = NDArray[np.float64]

GREY = (124, 117, 104)  # the mean colour of ImageNet, which fills what a turned view shows beyond the picture
MOST_VIEWS = 256
CANVAS = 7 / 8  # side of the square that shows a turned view, in parts of the longest side of what is turned

_DIGITS = 6  # after the point, in the numbers of a view and of its name
_NAME = re.compile(r"whole|(?:box ((?:[\d.]+ ){3}[\d.]+))?(?:(?:^|, )turn ([\d.]+))?")


@dataclasses.dataclass(frozen=True)
class View:
    """One rendition of a picture: a part of it, turned about the part's centre.

    Example:
      >>> View(turn=90).render(np.array([[[1], [2]]], np.uint8))[..., 0].tolist()
      [[2], [1]]

    Attributes:
      turn: degrees by which the part is turned, counter-clockwise, 0 to 360.
      box: the part: x0, y0, x1, y1 as fractions (0 to 1) of the upright picture's width and height.
    """

    turn: float = 0.0
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = box = tuple(round(float(side), _DIGITS) for side in self.box)
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise ConfigError(f"a view's box must be x0 y0 x1 y1 with 0 <= x0 < x1 <= 1, and so for y, got {self.box}")
        if not math.isfinite(self.turn):
            raise ConfigError(f"a view's turn must be a number of degrees, got {self.turn}")
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "turn", round(float(self.turn) % 360, _DIGITS) % 360)

    @property
    def name(self) -> str:
        """What catalogs call the view: ``whole``, ``turn 45``, ``box 0.125 0.125 0.875 0.875, turn 45``.

        No two views share a name, and a name means the same for ever.
        """
        parts = [] if self.box == WHOLE.box else [f"box {' '.join(map(_plain, self.box))}"]
        parts += [f"turn {_plain(self.turn)}"] if self.turn else []
        return ", ".join(parts) or "whole"

    @classmethod
    def from_name(cls, name: str) -> View:
        """The view that has this name.

        Raises:
          ConfigError: no view has it.
        """
        match = _NAME.fullmatch(name)
        try:
            if match and name:
                sides = match[1].split() if match[1] else (0, 0, 1, 1)
                x0, y0, x1, y1 = map(float, sides)
                view = cls(float(match[2] or 0), (x0, y0, x1, y1))
                if view.name == name:
                    return view
        except ValueError:  # a number such as 0.1.2, or a box that is none
            pass
        raise ConfigError(f"{name!r} is not the name of a view")

    def render(self, pixels: Pixels) -> Pixels:
        """Renders the view: upright RGB pixels (H, W, 3) uint8 to the pixels that are encoded, (h, w, 3) uint8.

        A quarter turn exchanges the part's width and height; for any other turn, the canvas is a square with `CANVAS`
        of the part's longest side, which cuts the part's corners off. Where it reaches beyond the part, it shows the
        picture; beyond the picture, `GREY`.
        """
        height, width = pixels.shape[:2]
        quarters, rest = divmod(self.turn, 90)
        if not rest:
            left, top, right, bottom = self._pixel_box((width, height))
            return np.rot90(pixels[top:bottom, left:right], int(quarters))
        from PIL import Image

        matrix = self.to_picture((width, height))
        canvas = self._canvas((width, height))
        to_pixels = matrix * np.array([[width], [height]]) / np.array([*canvas, 1.0])
        turned = Image.fromarray(pixels).transform(
            canvas,
            Image.Transform.AFFINE,
            tuple(to_pixels.ravel().tolist()),
            Image.Resampling.BILINEAR,
            fillcolor=GREY,
        )
        return np.asarray(turned)

    @property
    def extent(self) -> float:
        """The longest side of what is rendered, in parts of the longest side of the part that it shows."""
        return CANVAS if self.turn % 90 else 1.0

    def to_picture(self, size: tuple[int, int]) -> Affine:
        """Where the view's points lie in the picture.

        Args:
          size: (width, height) of the upright picture in pixels; only their ratio matters, but for rounding.

        Returns:
          (2, 3) float64: takes (x, y, 1), fractions of the view's width and height, to fractions of the picture's.
        """
        left, top, right, bottom = self._pixel_box(size)
        across, down = self._canvas(size)
        turn = math.radians(self.turn)
        cosine, sine = (round(value, 15) for value in (math.cos(turn), math.sin(turn)))  # quarter turns are exact
        # From the view's centre, in pixels, back to the part's centre: the inverse of a turn counter-clockwise, where y
        # points down.
        linear = np.array([[cosine * across, -sine * down], [sine * across, cosine * down]])
        centre = np.array([(left + right) / 2, (top + bottom) / 2])
        matrix: Affine = np.concatenate([linear, (centre - linear @ [0.5, 0.5])[:, None]], axis=1)
        return matrix / np.array([[size[0]], [size[1]]], np.float64)

    def _pixel_box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The part in whole pixels, at least one."""
        width, height = size
        x0, y0, x1, y1 = self.box
        left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
        return left, top, max(round(x1 * width), left + 1), max(round(y1 * height), top + 1)

    def _canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the view in pixels."""
        left, top, right, bottom = self._pixel_box(size)
        across, down = right - left, bottom - top
        if self.turn % 90:
            side = max(1, round(CANVAS * max(across, down)))
            return side, side
        return (down, across) if self.turn % 180 else (across, down)


WHOLE = View()


def rotations(steps: int) -> list[View]:
    """The picture turned by 0, 360 / steps, ... degrees."""
    return [View(turn=360 * step / steps) for step in range(steps)]


def scales(levels: int) -> list[View]:
    """The picture and its middle, each side three quarters of the one before; `levels` of them."""
    margins = [(1 - 0.75**level) / 2 for level in range(levels)]
    return [View(box=(margin, margin, 1 - margin, 1 - margin)) for margin in margins]


def regions(count: int) -> list[View]:
    """The picture, and count x count parts of it, which overlap by half; a side is 2 / (count + 1) of the picture's."""
    starts = [number / (count + 1) for number in range(count)]
    side = 2 / (count + 1)
    parts = [View(box=(x, y, x + side, y + side)) for y in starts for x in starts]
    return [WHOLE, *parts]


# A kind of view: from the number behind its name to its views, the first of which is the whole picture.
KINDS: dict[str, Callable[[int], list[View]]] = {"rotations": rotations, "scales": scales, "regions": regions}


def parse_views(text: str) -> tuple[View, ...]:
    """Reads which views there are to be.

    Several kinds are combined: ``rotations:4,scales:2`` is four turns of the whole picture and four of its middle.

    Example:
      >>> [view.name for view in parse_views("scales:2,rotations:2")]
      ['whole', 'turn 180', 'box 0.125 0.125 0.875 0.875', 'box 0.125 0.125 0.875 0.875, turn 180']

    Args:
      text: ``KIND:N`` with a kind of `KINDS`, or several, with commas between them; ``whole`` or nothing is the whole
        picture only.

    Returns:
      The views, the whole picture first, each of them once.

    Raises:
      ConfigError: it is another text, or there would be more than `MOST_VIEWS` views.
    """
    factors: dict[str, list[View]] = {}
    for part in text.split(",") if text.strip() not in ("", "whole") else ():
        kind, _, number = part.strip().partition(":")
        if kind not in KINDS or not re.fullmatch(r"0*[1-9][0-9]{0,4}", number) or kind in factors:
            kinds = ", ".join(f"{name}:N" for name in KINDS)
            raise ConfigError(f"views must be some of {kinds}, each once, with commas between them, got {text!r}")
        if int(number) > MOST_VIEWS:
            raise ConfigError(f"{text!r} makes more than {MOST_VIEWS} views")
        factors[kind] = KINDS[kind](int(number))
    if math.prod(map(len, factors.values())) > MOST_VIEWS:
        raise ConfigError(f"{text!r} makes more than {MOST_VIEWS} views")
    boxes = itertools.product(*(views for kind, views in factors.items() if kind != "rotations"))
    turns = [view.turn for view in factors.get("rotations", [WHOLE])]
    combined = (View(turn, _inside(views)) for views in boxes for turn in turns)
    return tuple(dict.fromkeys(combined))


def _inside(views: Sequence[View]) -> tuple[float, float, float, float]:
    """The box of a part of a part and so on."""
    x0, y0, x1, y1 = WHOLE.box
    for view in views:
        width, height = x1 - x0, y1 - y0
        left, top, right, bottom = view.box
        x0, y0, x1, y1 = x0 + left * width, y0 + top * height, x0 + right * width, y0 + bottom * height
    return x0, y0, min(x1, 1.0), min(y1, 1.0)


def render_views(
    source: Source, views: Sequence[View], image_size: Callable[[], int], max_pixels: Callable[[], int]
) -> Iterator[Source]:
    """Gives an encoder's input for each view of a picture.

    The whole picture is given as it came, such as an image file's bytes, which an encoder decodes in parallel and no
    larger than it needs. For other views the picture is decoded here, before the first input is given, no larger than
    they need.

    Args:
      source: a path, an image file's bytes, or upright pixels.
      views: the views to render, in this order.
      image_size: gives the side in pixels that the encoder makes of a view, see `tfvlad.EncoderConfig`; called only if
        the picture is decoded here, as is the next.
      max_pixels: gives the encoder's limit, see `tfvlad.EncoderConfig`.

    Raises:
      ImageError: the picture cannot be decoded; raised by the call, never by the iterator.
    """
    if all(view == WHOLE for view in views):
        return (source for _ in views)
    from tfvlad.images.crops import read_upright  # imports TensorFlow

    pixels = read_upright(source, max_pixels(), longest_side(views, image_size()))
    return (source if view == WHOLE else view.render(pixels) for view in views)


def longest_side(views: Sequence[View], image_size: int) -> int:
    """The pixels that a picture's longest side needs, so that each view has twice an encoder's `image_size`."""
    smallest = min(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (view.box for view in views))
    return math.ceil(2 * image_size / smallest)


def _plain(number: float) -> str:
    return f"{number:.{_DIGITS}f}".rstrip("0").rstrip(".") or "0"
