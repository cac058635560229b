"""Turns a flat picture into a photograph of it, taken by a hand-held camera over a littered table."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

FRAME_SIZE = (512, 384)  # or upright, 384 x 512

Corners = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

TABLES = ((139, 98, 62), (191, 155, 110), (92, 84, 78), (205, 200, 190), (58, 66, 74), (120, 130, 112))
THINGS = ((28, 29, 33), (228, 226, 220), (60, 92, 140), (164, 52, 48), (210, 170, 70), (70, 110, 84))


def photograph(picture: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Corners]:
    """Photographs a picture that lies on a table: turned, tilted, unevenly lit, a little blurred and noisy.

    Args:
      picture: RGB image.
      rng: source of all random choices; the same state gives the same photograph.

    Returns:
      The photograph, an RGB image of FRAME_SIZE or, upright, of its two sides exchanged; and the positions of the
      picture's corners in it, (4, 2) float64: x and y in pixels, clockwise from the picture's top left.
    """
    frame = FRAME_SIZE if rng.random() < 0.4 else FRAME_SIZE[::-1]
    corners = _pose(picture.size, frame, rng)
    scene = _table(frame, rng)
    for _ in range(rng.integers(3, 8)):
        _lay_thing(scene, rng)
    _cast_shadow(scene, corners, rng)
    _lay_picture(scene, picture, corners)
    return _expose(scene, corners, rng), corners


def homography(source: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Computes the projective transform that maps four points to four others (Hartley and Zisserman 2004, section 4.1).

    Args:
      source: (4, 2), no three of them on one line.
      target: (4, 2), no three of them on one line.

    Returns:
      (3, 3) float64 with a 1 in the last place: target ~ H @ (x, y, 1).
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(np.asarray(source, np.float64), np.asarray(target, np.float64), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)


def outline(size: tuple[int, int]) -> Corners:
    """Returns the corners of an upright rectangle of this width and height, (4, 2), clockwise from the top left."""
    width, height = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def _pose(size: tuple[int, int], frame: tuple[int, int], rng: np.random.Generator) -> Corners:
    """Computes where the corners of a picture fall in the frame of a pinhole camera before which it is held."""
    roll, pitch, yaw = np.clip(rng.normal(0, (14, 13, 13)), -40, 40) * math.pi / 180
    turn = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    swing = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    flat = (outline(size) - np.array(size) / 2) / max(size)  # the longest side is 1, the centre the origin
    space = np.column_stack([flat, np.zeros(4)]) @ (tilt @ swing @ turn).T  # (4, 2) -> (4, 3)
    seen = space[:, :2] / (1 + 0.5 * space[:, 2:])  # a focal length of twice the picture's longest side
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = rng.uniform(0.72, 1.02) * (np.array(frame) / (high - low)).min()
    room = np.array(frame) - scale * (high - low)
    corners: Corners = (seen - low) * scale + room * rng.uniform(0.2, 0.8, 2)
    return corners


def _table(frame: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draws a table top: random noise, stretched along the grain."""
    width, height = frame
    colour, grain = np.array(TABLES[rng.integers(len(TABLES))]), np.zeros((height, width))
    run = 1 if rng.random() < 0.4 else 24  # stone or cloth, or the long fibres of wood
    for coarse in (4, 12, 48):
        cells = Image.fromarray(
            rng.normal(0, 1, (height // coarse + 2, width // (coarse * run) + 2)).astype(np.float32)
        )
        grain += np.asarray(cells.resize(frame, Image.Resampling.BICUBIC))
    pixels = colour * (1 + rng.uniform(0.03, 0.08) * grain[..., None])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _lay_thing(scene: Image.Image, rng: np.random.Generator) -> None:
    """Puts one thing on the table: a sheet of writing, a keyboard, a pen, a mug or a coaster."""
    kind, colour = int(rng.integers(4)), THINGS[rng.integers(len(THINGS))]
    pale, dim = _shade(colour, 1.25), _shade(colour, 0.7)
    wide, tall = ((260, 340), (340, 150), (210, 20), (130, 130))[kind]
    thing = Image.new("RGBA", (wide, tall))
    draw = ImageDraw.Draw(thing)
    match kind:
        case 0:
            draw.rectangle((0, 0, wide, tall), fill=(232, 230, 224))
            for y in range(24, tall - 20, 11):
                for x in range(24, int(rng.integers(90, wide - 20)), 28):
                    draw.line((x, y, x + rng.uniform(8, 25), y), fill=(105, 105, 112), width=3)
        case 1:
            draw.rounded_rectangle((0, 0, wide - 1, tall - 1), 10, fill=dim)
            for y in range(9, tall - 20, 22):
                for x in range(9, wide - 20, 22):
                    draw.rounded_rectangle((x, y, x + 18, y + 18), 3, fill=colour, outline=pale)
        case 2:
            draw.rounded_rectangle((0, 0, wide - 1, tall - 1), 9, fill=colour)
            draw.line((8, 6, wide - 8, 6), fill=pale, width=4)
            draw.rectangle((wide * 0.7, 0, wide * 0.74, tall), fill=dim)
        case 3:
            for inset, fill in ((0, colour), (9, pale), (16, dim), (30, _shade(dim, 0.8))):
                draw.ellipse((inset, inset, wide - 1 - inset, tall - 1 - inset), fill=fill)
    thing = thing.rotate(rng.uniform(0, 360), Image.Resampling.BILINEAR, expand=True)
    x, y = (int(rng.uniform(-0.1, 1.1) * side) for side in scene.size)
    corner = x - thing.width // 2, y - thing.height // 2
    shadow = Image.new("RGB", thing.size, (20, 20, 24))
    soft = thing.getchannel("A").filter(ImageFilter.BoxBlur(5)).point(lambda value: value // 2)
    scene.paste(shadow, (corner[0] + 6, corner[1] + 7), soft)
    scene.paste(thing, corner, thing)


def _cast_shadow(scene: Image.Image, corners: Corners, rng: np.random.Generator) -> None:
    mask = _mask(scene.size, corners + rng.uniform(-9, 9, 2)).filter(ImageFilter.GaussianBlur(5))
    scene.paste((15, 15, 18), (0, 0, *scene.size), mask.point(lambda value: value // 2))


def _lay_picture(scene: Image.Image, picture: Image.Image, corners: Corners) -> None:
    """Projects the picture onto the scene; a clear margin of one pixel smooths its edge."""
    sheet = Image.new("RGBA", (picture.width + 2, picture.height + 2))
    sheet.paste(picture, (1, 1))
    back = homography(corners, outline(picture.size) + 1).ravel()[:8].tolist()  # Pillow asks where a pixel comes from
    warped = sheet.transform(scene.size, Image.Transform.PERSPECTIVE, back, Image.Resampling.BICUBIC)
    scene.paste(warped, (0, 0), warped)


def _expose(scene: Image.Image, corners: Corners, rng: np.random.Generator) -> Image.Image:
    """Adds uneven light, a colour cast, glare on the picture, noise and blur."""
    width, height = scene.size
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    toward, fall = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.35)
    light = rng.uniform(0.65, 1.15) * (1 + fall * (x * math.cos(toward) + y * math.sin(toward)))  # (height, width)
    cast = np.clip(rng.normal(1, (0.07, 0.03, 0.09)), 0.8, 1.2)
    pixels = np.asarray(scene) * (light[..., None] * cast).astype(np.float32)  # (height, width, 3)
    pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(2, 9))
    if rng.random() < 0.6:
        pixels += _glare(scene.size, corners, rng)[..., None]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.1)))


def _glare(frame: tuple[int, int], corners: Corners, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Computes a lamp's reflection in the glossy picture: an elongated spot, (height, width), in grey levels."""
    spot_x, spot_y = rng.dirichlet(np.ones(4)) @ corners  # anywhere on the picture
    x, y = np.meshgrid(np.arange(frame[0]) - spot_x, np.arange(frame[1]) - spot_y)
    angle, long, short = rng.uniform(0, math.pi), rng.uniform(40, 130), rng.uniform(14, 45)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    spot = rng.uniform(60, 230) * np.exp(-((along / long) ** 2) - (across / short) ** 2)
    return np.where(np.asarray(_mask(frame, corners)) > 0, spot, 0.0)


def _mask(frame: tuple[int, int], corners: Corners) -> Image.Image:
    mask = Image.new("L", frame)
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in corners], fill=255)
    return mask


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(factor * channel)) for channel in colour)
    return red, green, blue
