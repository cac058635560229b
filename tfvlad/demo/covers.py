"""Draws covers of films and books from random numbers: background, picture, lettering and the grain of print."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfvlad.demo.motifs import HEIGHT, MOTIFS, WIDTH, Colour, Palette, mix, star

COVER_SIZE = (WIDTH // 2, HEIGHT // 2)  # drawn at twice the size and reduced, which smooths the edges

# Few palettes for many covers: colour alone must not tell one cover from another.
PALETTES = (
    Palette((27, 24, 51), (67, 42, 89), (141, 69, 104), (239, 131, 84), (251, 227, 181)),
    Palette((11, 31, 51), (20, 75, 102), (42, 140, 148), (242, 181, 68), (233, 241, 228)),
    Palette((22, 36, 27), (47, 74, 51), (111, 138, 75), (217, 132, 59), (241, 234, 210)),
    Palette((29, 20, 22), (92, 26, 34), (184, 50, 47), (233, 180, 76), (246, 232, 213)),
    Palette((16, 21, 31), (44, 58, 85), (108, 135, 168), (226, 91, 69), (238, 241, 243)),
)

ADJECTIVES = ("Silent", "Crooked", "Golden", "Last", "Hidden", "Northern", "Broken", "Distant", "Velvet", "Seventh")
NOUNS = ("Harbour", "Orchard", "Witness", "Winter", "Stranger", "River", "Lantern", "Garden", "Signal", "Sparrow")
FORENAMES = ("Ada", "Bruno", "Clara", "Dario", "Edith", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Leo")
SURNAMES = ("Abbott", "Berger", "Castell", "Dumont", "Farrow", "Galindo", "Hollis", "Ivanov", "Keller", "Novak")
PRAISE = ("A quiet triumph", "Impossible to forget", "The find of the year", "Bold, strange and tender", "Pure delight")

Lettering = Callable[[ImageDraw.ImageDraw, list[str], str, Palette, np.random.Generator], None]


def draw_cover(rng: np.random.Generator) -> Image.Image:
    """Draws one cover.

    Args:
      rng: source of all random choices; the same state gives the same cover.

    Returns:
      An RGB image of COVER_SIZE.
    """
    palette = PALETTES[rng.integers(len(PALETTES))]
    canvas = _gradient(palette, rng)
    MOTIFS[rng.integers(len(MOTIFS))](canvas, palette, rng)
    draw = ImageDraw.Draw(canvas)
    author = f"{rng.choice(FORENAMES)} {rng.choice(SURNAMES)}"
    LETTERINGS[rng.integers(len(LETTERINGS))](draw, _title(rng), author, palette, rng)
    if rng.random() < 0.4:
        _badge(draw, palette, rng)
    return _printed(canvas.reduce(2), rng)


def _gradient(palette: Palette, rng: np.random.Generator) -> Image.Image:
    """Draws the background: one colour that runs into another, light or dark."""
    top, bottom = rng.permutation(np.asarray(palette, np.float64)[[1, 2, 3, 4]])[:2]
    share = np.linspace(0, 1, HEIGHT)[:, None, None]
    column = np.rint(top + (bottom - top) * share).astype(np.uint8)  # (HEIGHT, 1, 3)
    return Image.fromarray(column).resize((WIDTH, HEIGHT))


def _title(rng: np.random.Generator) -> list[str]:
    """Makes up a title, as lines of words."""
    adjective, noun, other = rng.choice(ADJECTIVES), *rng.choice(NOUNS, 2, replace=False)
    return [
        ["The", adjective, noun],
        [adjective, noun],
        [noun, "& " + other],
        ["No " + noun, "for the", other],
        [f"{noun} {rng.integers(2, 99)}"],
    ][rng.integers(5)]


def _stacked(
    draw: ImageDraw.ImageDraw, title: list[str], author: str, palette: Palette, rng: np.random.Generator
) -> None:
    """Lets each line of the title fill the width, from the top, and puts the author on a band at the foot."""
    y = 40.0
    for line in title:
        y += _write(draw, line.upper(), (WIDTH / 2, y), palette.light, room=640, size=150, outline=palette.dark) + 14
    draw.rectangle((0, HEIGHT - 84, WIDTH, HEIGHT), fill=palette.dark)
    _write(draw, " ".join(author.upper()), (WIDTH / 2, HEIGHT - 60), palette.accent, room=600, size=40)


def _banded(
    draw: ImageDraw.ImageDraw, title: list[str], author: str, palette: Palette, rng: np.random.Generator
) -> None:
    """Puts title and author on a wide band across the cover."""
    top = rng.choice([40.0, 760.0])
    ground, ink = ((palette.light, palette.dark), (palette.dark, palette.light))[rng.integers(2)]
    draw.rectangle((0, top, WIDTH, top + 220), fill=ground)
    for edge in (top, top + 220):
        draw.rectangle((0, edge - 7, WIDTH, edge + 7), fill=palette.accent)
    _write(draw, " ".join(title), (WIDTH / 2, top + 40), ink, room=640, size=110)
    _write(draw, author, (WIDTH / 2, top + 155), mix(ink, palette.accent, 0.5), room=600, size=42)


def _framed(
    draw: ImageDraw.ImageDraw, title: list[str], author: str, palette: Palette, rng: np.random.Generator
) -> None:
    """Draws a border around the cover and a label with title and author, as on an old paperback."""
    draw.rectangle((0, 0, WIDTH - 1, HEIGHT - 1), outline=palette.light, width=34)
    draw.rectangle((46, 46, WIDTH - 47, HEIGHT - 47), outline=palette.accent, width=6)
    rule = 92 + 80 * len(title)
    draw.rounded_rectangle((120, 70, WIDTH - 120, rule + 70), 26, palette.light, palette.dark, 5)
    for row, line in enumerate(title):
        _write(draw, line, (WIDTH / 2, 92 + 80 * row), palette.deep, room=430, size=76)
    draw.line((200, rule, WIDTH - 200, rule), fill=palette.accent, width=5)
    _write(draw, author, (WIDTH / 2, rule + 18), palette.dark, room=400, size=38)


def _billed(
    draw: ImageDraw.ImageDraw, title: list[str], author: str, palette: Palette, rng: np.random.Generator
) -> None:
    """Sets a film's poster: the star above, the title low, praise and credits in small print."""
    _write(draw, " ".join(author.upper()), (WIDTH / 2, 36), palette.light, room=620, size=54, outline=palette.dark)
    praise = f"“{rng.choice(PRAISE)}”"
    _write(draw, praise, (WIDTH / 2, 118), palette.accent, room=520, size=40, outline=palette.dark)
    draw.rectangle((0, HEIGHT - 250, WIDTH, HEIGHT), fill=palette.dark)
    _write(draw, " ".join(title).upper(), (WIDTH / 2, HEIGHT - 232), palette.light, room=660, size=120)
    for row in range(3):
        credit = "  ".join(f"{rng.choice(FORENAMES)} {rng.choice(SURNAMES)}".upper() for _ in range(3))
        _write(draw, credit, (WIDTH / 2, HEIGHT - 108 + 30 * row), palette.middle, room=600, size=24)


LETTERINGS: tuple[Lettering, ...] = (_stacked, _banded, _framed, _billed)


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    top: tuple[float, float],
    ink: Colour,
    *,
    room: float,
    size: float,
    outline: Colour | None = None,
) -> float:
    """Writes one centred line below `top` and returns its height; `size` is reduced until the line fits into `room`."""
    size *= min(1.0, room / draw.textlength(text, ImageFont.load_default(size)))
    font = ImageFont.load_default(size)
    stroke, edge = (round(size / 16), outline) if outline else (round(size / 40), ink)
    draw.text(top, text, ink, font, anchor="mt", stroke_width=stroke, stroke_fill=edge)
    return draw.textbbox(top, text, font, anchor="mt", stroke_width=stroke)[3] - top[1]


def _badge(draw: ImageDraw.ImageDraw, palette: Palette, rng: np.random.Generator) -> None:
    """Draws a star-shaped sticker with a number on it."""
    x, y = rng.uniform(110, 610), rng.uniform(640, 740)
    draw.polygon(star(x, y, 88, 70, 14), fill=palette.accent, outline=palette.light)
    _write(draw, f"No. {rng.integers(1, 100)}", (x, y - 22), palette.dark, room=110, size=44)


def _printed(cover: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Adds the grain of paper and ink, and a little shade towards the spine."""
    width, height = cover.size
    grain = rng.normal(0, 6, (height, width, 1))
    spine = 1 - 0.35 * np.exp(-np.arange(width) / 8)
    pixels = (np.asarray(cover) + grain) * spine[:, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
