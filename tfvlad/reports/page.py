"""What every page has: one file, written whole, with its style and images in itself, and everything escaped."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from tfvlad.reports.thumbnails import thumbnail
from tfvlad.storage.atomic import atomic_file

THUMBNAILS_KEPT = 1024  # some 10 MB; a file met again while among them is not encoded again


def write_page(
    path: str | os.PathLike[str], template: str, filters: Mapping[str, Callable[..., Any]], **content: object
) -> None:
    """Fills in a template of this package, which extends ``page.html.j2``.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      template: the template's file name.
      filters: what it uses beside ``figure``, ``file_name`` and the function ``thumbnail``.
      content: ``title``, ``notes``, ``metrics`` and what else the template shows.

    Raises:
      OSError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfvlad.reports", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=_figure, file_name=os.path.basename, **filters)
    environment.globals.update(thumbnail=functools.lru_cache(THUMBNAILS_KEPT)(thumbnail))
    page = environment.get_template(template).generate(**content)
    with atomic_file(path) as partial, open(partial, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(page)


def _figure(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
