"""What all pages share: one HTML file, written whole, with its style and pictures inside and every text escaped."""

from __future__ import annotations

import functools
import os
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import markupsafe

from tfvlad.errors import ImageError
from tfvlad.images import Box
from tfvlad.images.thumbnails import Thumbnail, thumbnail
from tfvlad.printable import printable
from tfvlad.storage.atomic import atomic_file

THUMBNAILS_KEPT = 1024  # some 10 MB; a file that is shown again while its thumbnail is kept is not read again


def _thumbnail_or_reason(path: str, longest_side: int, box: Box | None = None) -> Thumbnail | str:
    """A thumbnail, or why there is none."""
    try:
        return thumbnail(path, longest_side, box)
    except ImageError as error:
        return error.reason


def write_page(
    path: str | os.PathLike[str], template: str, filters: Mapping[str, Callable[..., Any]], **content: object
) -> None:
    """Fills in a template of this package that extends ``page.html.j2``, and writes the page.

    Args:
      path: the HTML file; it appears, or replaces an earlier one, only when it is complete.
      template: the template's file name.
      filters: the filters that the template uses beside ``figure``, ``file_name``, ``folder_name`` and ``address``, a
        file's as the page links to it. The function ``thumbnail`` is there, too; in place of a thumbnail that cannot be
        made it returns the reason.
      content: ``title``, ``notes``, ``metrics`` and whatever else the template shows.

    Raises:
      OSError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfvlad.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_control_characters,
    )
    address = functools.partial(_address, os.path.dirname(os.path.realpath(path)))
    environment.filters.update(
        figure=_figure, file_name=os.path.basename, folder_name=_folder_name, address=address, **filters
    )
    environment.globals.update(thumbnail=functools.lru_cache(THUMBNAILS_KEPT)(_thumbnail_or_reason))
    page = environment.get_template(template).generate(**content)
    with atomic_file(path) as partial, open(partial, "w", encoding="utf-8", errors="replace") as file:
        file.writelines(page)


def _without_control_characters(value: object) -> object:
    """Makes what a template shows printable, but for the ends of lines."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup) or value.isprintable():
        return value
    return "\n".join(printable(line) for line in value.split("\n"))


def _folder_name(path: str) -> str:
    """The last folder of a path with its slash, such as ``covers/``; nothing where the path has no folder."""
    name = os.path.basename(os.path.dirname(path))
    return name + "/" if name else ""


def _address(folder: str, path: str) -> str:
    """The address of a file for a page in a folder: relative, so that both may be moved together."""
    try:
        relative = os.path.relpath(os.path.abspath(path), folder)
    except ValueError:  # on another drive of Windows, or not a path at all
        relative = path
    return urllib.parse.quote(os.fsencode(relative.replace(os.sep, "/")))


def _figure(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
