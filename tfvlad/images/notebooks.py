"""How a notebook shows what has images: a heading, facts, and small pictures with a few lines under each."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence

from tfvlad.errors import ImageError
from tfvlad.images.thumbnails import thumbnail
from tfvlad.printable import printable

_SIDE = 140  # pixels of a picture's longest side
_TILE = f"display:inline-block;vertical-align:top;width:{_SIDE + 10}px;margin:4px;font-size:12px;overflow-wrap:anywhere"


def facts(heading: str, told: Mapping[str, object]) -> str:
    """A heading, and a table of names and values, as HTML."""
    rows = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in told.items()
    )
    return f"<div><b>{_text(heading)}</b><table>{rows}</table></div>"


def pictures(shown: Iterable[tuple[str, Sequence[object]]]) -> str:
    """Small pictures side by side, as HTML; in place of one that cannot be read there is the reason.

    Args:
      shown: image files, and the lines under each.
    """
    return f"<div>{''.join(_tile(path, lines) for path, lines in shown)}</div>"


def _tile(path: str, lines: Sequence[object]) -> str:
    try:
        small = thumbnail(path, _SIDE)
        picture = f'<img src="{small.address}" width="{small.width}" height="{small.height}" alt="">'
    except ImageError as error:
        picture = f"<i>{_text(error.reason)}</i>"
    under = "".join(f"<br>{_text(line)}" for line in (*lines, os.path.basename(path)))
    return f'<div style="{_TILE}" title="{_text(path)}">{picture}{under}</div>'


def _text(value: object) -> str:
    return html.escape(printable(str(value)))
