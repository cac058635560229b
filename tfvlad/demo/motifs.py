"""The pictures on the demo's covers: mountains, a city, a portrait and so on, each drawn from a few random numbers.

Every motif paints on a canvas of WIDTH x HEIGHT pixels, in the colours of one palette.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw

WIDTH, HEIGHT = 720, 1024

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]


class Palette(NamedTuple):
    """Five RGB colours, from the darkest to the lightest; `accent` is the one that catches the eye."""

    dark: Colour
    deep: Colour
    middle: Colour
    accent: Colour
    light: Colour


Motif = Callable[[Image.Image, Palette, np.random.Generator], None]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blends two colours; `share` is the part of the second one, from 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Colour) -> None:
    """Fills a circle around (x, y)."""
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def star(x: float, y: float, outer: float, inner: float, tips: int, turn: float = 0.0) -> Points:
    """Returns the corners of a star with `tips` tips around (x, y), turned by `turn` radians."""
    angles = turn + np.arange(2 * tips) * math.pi / tips
    radii = np.where(np.arange(2 * tips) % 2 == 0, outer, inner)
    return list(zip(x + radii * np.cos(angles), y + radii * np.sin(angles), strict=True))


def mountains(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints ridges behind ridges under a sun, with firs in front."""
    draw = ImageDraw.Draw(canvas)
    disc(draw, rng.uniform(100, 620), rng.uniform(330, 480), rng.uniform(60, 150), palette.light)
    ridge: Points = []
    for depth in np.linspace(0, 1, rng.integers(3, 6)):
        ridge = _wave(rng, base=480 + 380 * depth, swell=rng.uniform(40, 110), roughness=rng.uniform(0, 14))
        draw.polygon([*ridge, (WIDTH, HEIGHT), (0, HEIGHT)], fill=mix(palette.middle, palette.dark, depth))
    for x, y in ridge[:: rng.integers(3, 7)]:
        tall = rng.uniform(60, 170)
        for tier in range(3):
            half, top = tall * (0.14 + 0.08 * tier), y - tall + tier * tall * 0.25
            draw.polygon([(x, top), (x - half, top + tall * 0.42), (x + half, top + tall * 0.42)], fill=palette.deep)


def city(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints towers with lit windows under a moon."""
    draw = ImageDraw.Draw(canvas)
    disc(draw, rng.uniform(80, 640), rng.uniform(250, 420), rng.uniform(40, 110), palette.accent)
    pitch = int(rng.integers(20, 34))
    for wall, low, high in ((palette.middle, 380, 640), (palette.deep, 480, 760), (palette.dark, 620, 900)):
        left = -rng.uniform(0, 60)
        while left < WIDTH:
            wide, top = int(rng.integers(70, 170)), int(rng.integers(low, high))
            draw.rectangle((left, top, left + wide, HEIGHT), fill=wall)
            if rng.random() < 0.3:
                draw.polygon([(left, top), (left + wide, top), (left + wide / 2, top - wide * 0.7)], fill=wall)
            for y in range(top + 14, HEIGHT, pitch):
                for x in range(12, wide - 16, pitch):
                    if rng.random() < 0.4:
                        draw.rectangle((left + x, y, left + x + 9, y + 13), fill=palette.light)
            left += wide + rng.uniform(0, 30)


def portrait(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints a head and shoulders, at random with long hair, glasses, a beard or a hat."""
    draw = ImageDraw.Draw(canvas)
    x, y, wide = rng.uniform(280, 440), rng.uniform(500, 570), rng.uniform(115, 165)
    tall, look = wide * rng.uniform(1.2, 1.45), rng.uniform(-0.14, 0.14) * wide
    skin = mix(palette.light, palette.middle, rng.uniform(0.0, 0.6))
    shaded, hair = mix(skin, palette.dark, 0.3), (palette.dark, palette.accent)[rng.integers(2)]
    disc(draw, x, y, wide * rng.uniform(1.5, 2.1), mix(palette.accent, palette.light, rng.random()))
    if rng.random() < 0.5:  # long hair falls behind the shoulders
        draw.rounded_rectangle((x - wide * 1.2, y - tall, x + wide * 1.2, y + tall * 1.3), wide, fill=hair)
    draw.ellipse((x - wide * 2.1, y + tall * 1.05, x + wide * 2.1, HEIGHT + 300), fill=palette.deep)
    for fold in range(rng.integers(0, 6)):
        top = y + tall * 1.25 + 40 * fold
        draw.arc((x - wide * 1.9, top, x + wide * 1.9, top + 500), 200, 340, fill=palette.accent, width=12)
    draw.rectangle((x - wide * 0.35, y + tall * 0.6, x + wide * 0.35, y + tall * 1.2), fill=shaded)
    draw.ellipse((x - wide * 1.06, y - tall * 1.12, x + wide * 1.06, y + tall * 0.5), fill=hair)
    draw.ellipse((x - wide, y - tall * 0.8, x + wide, y + tall), fill=skin)
    if rng.random() < 0.35:
        draw.pieslice((x - wide, y - tall * 0.7, x + wide, y + tall * 1.1), 15, 165, fill=hair)
    glasses = rng.random() < 0.4
    for eye in (x + look - wide * 0.42, x + look + wide * 0.42):
        draw.ellipse((eye - 26, y - 16, eye + 26, y + 16), fill=(255, 255, 255))
        disc(draw, eye + look * 0.5, y, 13, palette.dark)
        draw.line((eye - 36, y - 42, eye + 36, y - 46), fill=hair, width=int(rng.integers(6, 16)))
        if glasses:
            draw.ellipse((eye - 52, y - 46, eye + 52, y + 46), outline=palette.dark, width=9)
    nose = [(x + look, y), (x + look * 2 + 22, y + tall * 0.36), (x + look - 12, y + tall * 0.38)]
    draw.polygon(nose, fill=shaded)
    smile = rng.uniform(0.2, 0.5) * wide
    draw.chord((x + look - smile, y + tall * 0.36, x + look + smile, y + tall * 0.72), 20, 160, fill=palette.accent)
    if rng.random() < 0.4:
        draw.rectangle((x - wide * 1.5, y - tall * 0.72, x + wide * 1.5, y - tall * 0.58), fill=palette.dark)
        draw.rectangle((x - wide * 0.9, y - tall * 1.4, x + wide * 0.9, y - tall * 0.6), fill=palette.dark)


def planets(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints banded planets among stars, some with rings."""
    canvas.paste(palette.dark, (0, 0, WIDTH, HEIGHT))
    draw = ImageDraw.Draw(canvas)
    for x, y in rng.uniform((0, 0), (WIDTH, HEIGHT), (170, 2)):
        disc(draw, x, y, rng.uniform(1, 4), palette.light)
    for radius in (rng.uniform(180, 260), rng.uniform(60, 120), rng.uniform(25, 60)):
        x, y, side = rng.uniform(120, 600), rng.uniform(300, 800), int(2 * radius)
        world = Image.new("RGB", (side, side), palette.middle)
        bands = ImageDraw.Draw(world)
        for band in range(rng.integers(3, 9)):
            top = rng.uniform(0, side)
            bands.rectangle((0, top, side, top + rng.uniform(4, side / 7)), fill=palette[1 + band % 4])
        world = world.rotate(rng.uniform(-40, 40), Image.Resampling.BICUBIC, fillcolor=palette.middle)
        corner = int(x - radius), int(y - radius)
        whole, shifted = Image.new("L", (side, side)), Image.new("L", (side, side))
        ImageDraw.Draw(whole).ellipse((0, 0, side - 1, side - 1), fill=255)
        ImageDraw.Draw(shifted).ellipse((-side * 0.15, -side * 0.15, side * 0.88, side * 0.88), fill=255)
        canvas.paste(world.point(lambda value: value // 2), corner, whole)
        canvas.paste(world, corner, ImageChops.darker(whole, shifted))
        if rng.random() < 0.5:
            span, start = radius * rng.uniform(1.4, 1.8), rng.uniform(-20, 20)
            draw.arc((x - span, y - span * 0.3, x + span, y + span * 0.3), start, start + 180, palette.accent, 14)


def burst(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints rays from a centre, with rings and a star over them."""
    draw = ImageDraw.Draw(canvas)
    x, y, rays, turn = rng.uniform(200, 520), rng.uniform(430, 680), int(rng.integers(7, 22)), rng.uniform(0, 1)
    outer = star(x, y, 1500, 1500, rays, turn)
    for first, second in zip(outer[::2], outer[1::2], strict=True):
        draw.polygon([(x, y), first, second], fill=palette.middle)
    radius, ring = rng.uniform(190, 300), 0
    while radius > 60:
        disc(draw, x, y, radius, palette[ring % 5])
        radius, ring = radius - rng.uniform(18, 70), ring + 1
    tips = int(rng.integers(3, 10))
    draw.polygon(star(x, y, rng.uniform(90, 230), rng.uniform(30, 80), tips, rng.uniform(0, 3)), fill=palette.accent)
    disc(draw, x, y, rng.uniform(10, 40), palette.dark)


def sea(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints a sailing boat on a swell."""
    draw = ImageDraw.Draw(canvas)
    disc(draw, rng.uniform(60, 660), rng.uniform(260, 420), rng.uniform(40, 120), palette.accent)
    layers = int(rng.integers(5, 9))
    afloat = int(rng.integers(1, layers - 2))
    for layer in range(layers):
        depth = layer / (layers - 1)
        crest = _wave(rng, base=560 + 380 * depth, swell=rng.uniform(15, 45), roughness=0.0)
        draw.polygon([*crest, (WIDTH, HEIGHT), (0, HEIGHT)], fill=mix(palette.middle, palette.dark, depth))
        draw.line(crest, fill=palette.light, width=int(rng.integers(3, 9)))
        if layer == afloat:
            x, y = crest[int(rng.integers(15, 45))]
            size, deck = rng.uniform(90, 190), y - 30
            hull = [(x - size, deck), (x + size, deck), (x + size * 0.7, y + 40), (x - size * 0.7, y + 40)]
            jib = [(x - 12, deck - size * 1.6), (x - 12, deck - 18), (x - size * 0.8, deck - 18)]
            sail = [(x + 12, deck - size * 2), (x + 12, deck - 18), (x + size * rng.uniform(0.5, 1.1), deck - 18)]
            draw.line((x, deck, x, deck - 30 - size * 2), fill=palette.dark, width=10)
            for shape, colour in ((hull, palette.dark), (jib, palette.accent), (sail, palette.light)):
                draw.polygon(shape, fill=colour)


def tree(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints a branching tree in leaf on a hill."""
    draw = ImageDraw.Draw(canvas)
    moon = mix(palette.light, palette.accent, 0.3)
    disc(draw, rng.uniform(200, 520), rng.uniform(430, 560), rng.uniform(200, 300), moon)
    hill = _wave(rng, base=900, swell=40, roughness=0.0)
    draw.polygon([*hill, (WIDTH, HEIGHT), (0, HEIGHT)], fill=palette.deep)
    spread, shrink, leaf = rng.uniform(0.3, 0.65), rng.uniform(0.7, 0.78), rng.uniform(9, 20)
    tips = [(rng.uniform(250, 470), 920.0, -math.pi / 2, rng.uniform(150, 190), 34.0)]
    while tips:
        x, y, angle, length, thick = tips.pop()
        end_x, end_y = x + length * math.cos(angle), y + length * math.sin(angle)
        draw.line((x, y, end_x, end_y), fill=palette.dark, width=max(3, int(thick)))
        if length < 45:
            disc(draw, end_x, end_y, leaf * rng.uniform(0.7, 1.4), (palette.accent, palette.middle)[rng.integers(2)])
            continue
        for side in (-1, 1):
            bend = side * spread * rng.uniform(0.5, 1.4)
            tips.append((end_x, end_y, angle + bend, length * shrink * rng.uniform(0.85, 1.1), thick * 0.7))


def flowers(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints a few blossoms on bent stems."""
    draw = ImageDraw.Draw(canvas)
    foot = rng.uniform(280, 440)
    for _ in range(rng.integers(3, 8)):
        x, y, radius = rng.uniform(90, 630), rng.uniform(320, 720), rng.uniform(55, 120)
        stem = [(x + (foot - x) * t**2, y + (HEIGHT - y) * t) for t in np.linspace(0, 1, 20)]
        draw.line(stem, fill=palette.deep, width=12, joint="curve")
        leaf_x, leaf_y = stem[rng.integers(6, 14)]
        draw.polygon(star(leaf_x, leaf_y, 80, 22, 2, rng.uniform(-0.6, 0.6)), fill=palette.middle)
        petals, turn = int(rng.integers(5, 12)), rng.uniform(0, 1)
        colours = (palette.accent, palette.light, palette.middle)
        first, second = colours[rng.integers(3)], colours[rng.integers(3)]
        for angle in turn + np.arange(petals) * 2 * math.pi / petals:
            centre = x + 0.62 * radius * math.cos(angle), y + 0.62 * radius * math.sin(angle)
            disc(draw, *centre, radius * 2.4 / petals, first)
            disc(draw, *centre, radius * 1.2 / petals, second)
        disc(draw, x, y, radius * 0.36, palette.dark)


def tiles(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints a grid of quarter circles, triangles, dots and bars."""
    draw = ImageDraw.Draw(canvas)
    columns = int(rng.integers(3, 7))
    side = WIDTH / columns
    for row in range(math.ceil(HEIGHT / side)):
        for column in range(columns):
            left, top = column * side, row * side
            right, bottom = left + side, top + side
            ground, shape = (palette[i] for i in rng.choice(5, 2, replace=False))
            draw.rectangle((left, top, right, bottom), fill=ground)
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            match rng.integers(5):
                case 0:
                    quarter = int(rng.integers(4))
                    x, y = corners[quarter]
                    box = (x - side, y - side, x + side, y + side)
                    draw.pieslice(box, 90 * quarter, 90 * quarter + 90, fill=shape)
                case 1:
                    draw.polygon(corners[:3] if rng.random() < 0.5 else corners[1:], fill=shape)
                case 2:
                    disc(draw, left + side / 2, top + side / 2, side * rng.uniform(0.2, 0.45), shape)
                case 3:
                    for bar in np.arange(0, 1, 0.25):
                        draw.rectangle((left, top + bar * side, right, top + (bar + 0.125) * side), fill=shape)


def contours(canvas: Image.Image, palette: Palette, rng: np.random.Generator) -> None:
    """Paints bands of a smooth random field, like the heights of a map."""
    rough = Image.fromarray(rng.random((int(rng.integers(4, 9)), int(rng.integers(3, 7))), dtype=np.float32))
    field = np.asarray(rough.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))  # (HEIGHT, WIDTH)
    level = np.clip(field, 0, 1) * rng.integers(6, 14)
    colours = np.asarray(palette, np.uint8)[rng.permutation(5)[level.astype(np.intp) % 5]]
    colours[level % 1 < 0.12] = palette.dark
    canvas.paste(Image.fromarray(colours))


MOTIFS: tuple[Motif, ...] = (mountains, city, portrait, planets, burst, sea, tree, flowers, tiles, contours)


def _wave(rng: np.random.Generator, base: float, swell: float, roughness: float) -> Points:
    """Returns 61 points of a line across the canvas around the height `base`: three sines and some noise."""
    x = np.linspace(0, WIDTH, 61)
    y = base + rng.normal(0, 1, 61) * roughness
    for harmonic in (1, 2, 4):
        y += swell / harmonic * np.sin(harmonic * x * rng.uniform(0.006, 0.013) + rng.uniform(0, 2 * math.pi))
    return list(zip(x.tolist(), y.tolist(), strict=True))
