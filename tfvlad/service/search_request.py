"""What a request asks for: forms and JSON become one checked `SearchRequest`, or a line that says what is wrong."""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from starlette.datastructures import UploadFile

from tfvlad.errors import ConfigError
from tfvlad.images.views import View
from tfvlad.service.bodies import read_form
from tfvlad.service.refusals import RefusalError
from tfvlad.service.settings import MOST_EXPANDED, MOST_HITS, MOST_VERIFIED, SIDES

Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the upright picture

LARGEST_ID = 2**63 - 1
_LARGEST_SIDE = 1e6  # pixels
_LARGE = 2**18  # bytes of JSON that are read on another thread
_LONGEST_NAME = 100  # characters
_LONGEST_NUMBER = 20  # digits


@dataclasses.dataclass(frozen=True)
class SearchRequest:
    """What is searched for, and how.

    Attributes:
      image: the bytes of a picture; None where an indexed one is searched for.
      id: of the indexed file that is searched for; None where a picture was sent.
      index: the name of the index; None is the first one.
      k: hits.
      box: the part of the picture that is searched for.
      verify: images of the shortlist to verify; None is the index's own number.
      expand: see `tfvlad.Index.search`.
      quick: whether to compare the descriptors of whole pictures only, without other views and verification.
      generation: of the index that ids belong to; None is whichever there is.
      found: of a request for an explanation, the id of the file that was found.
      view: of that file, the view that fits best, where the search said so.
      query_view: of the query, likewise.
    """

    image: bytes | None = None
    id: int | None = None
    index: str | None = None
    k: int = 10
    box: Box | None = None
    verify: int | None = None
    expand: int = 0
    quick: bool = False
    generation: str | None = None
    found: int | None = None
    view: str | None = None
    query_view: str | None = None


async def read_request(body: bytes, content_type: str) -> SearchRequest:
    """Reads a body.

    Args:
      body: of the request.
      content_type: its header.

    Raises:
      RefusalError: it is neither a form nor JSON, or a field is not what it should be.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(body, content_type)
    if kind == "application/json":
        return _from_json(body) if len(body) < _LARGE else await asyncio.to_thread(_from_json, body)
    raise RefusalError(415, "send multipart/form-data with the field file, or application/json")


def from_query(fields: Mapping[str, str]) -> SearchRequest:
    """Reads the query of an address, such as ``id=3&found=17``.

    Raises:
      RefusalError: a field is not what it should be.
    """
    return _checked(_typed(dict(fields)))


def image_fields(fields: Mapping[str, str]) -> tuple[str | None, str | None, int]:
    """Reads the query of an image's address: the index's name, its generation, and the side of a small copy.

    Raises:
      RefusalError: a field is not what it should be.
    """
    index, generation = (_text(name, fields[name]) if name in fields else None for name in ("index", "generation"))
    side = fields.get("side", str(SIDES[1]))
    if side not in map(str, SIDES):
        raise RefusalError(400, f"side must be one of {', '.join(map(str, SIDES))}")
    return index, generation, int(side)


async def _from_form(body: bytes, content_type: str) -> SearchRequest:
    form = await read_form(body, content_type)
    try:
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            if name in fields:
                raise RefusalError(400, f"the field {name[:50]!r} is there twice")
            fields[name] = value
        if "image" in fields:
            raise RefusalError(400, "of a form, the picture is the field file")
        file = fields.pop("file", None)
        if file is not None:
            if not isinstance(file, UploadFile):
                raise RefusalError(400, "the field file must be a file, with a filename")
            fields["image"] = await file.read()
        for name, value in fields.items():
            if isinstance(value, UploadFile):
                raise RefusalError(400, f"the field {name[:50]!r} must not be a file; the picture is the field file")
        return _checked(_typed(fields))
    finally:
        await form.close()


def _from_json(body: bytes) -> SearchRequest:
    try:
        fields = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):  # of which Unicode and JSON errors are some
        raise RefusalError(400, "the body is no JSON") from None
    if not isinstance(fields, dict):
        raise RefusalError(400, 'the body must be a JSON object, such as {"id": 3, "k": 10}')
    if "image" in fields:
        try:
            if not isinstance(fields["image"], str):
                raise ValueError
            fields["image"] = base64.b64decode(fields["image"], validate=True)
        except (binascii.Error, ValueError):
            raise RefusalError(400, "image must be the bytes of a picture in base64") from None
    return _checked(fields)


def _typed(fields: dict[str, Any]) -> dict[str, Any]:
    """What JSON would have in place of the texts of a form, as far as they are such."""
    typed = dict(fields)
    for name in ("id", "found", "k", "verify", "expand"):
        text = fields.get(name)
        if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER:
            typed[name] = int(text)
    if "quick" in fields:
        typed["quick"] = {"true": True, "false": False}.get(fields["quick"])
    if "box" in fields:
        try:
            typed["box"] = [float(side) for side in fields["box"].split(",")]
        except ValueError:
            typed["box"] = None
    return typed


def _checked(fields: dict[str, Any]) -> SearchRequest:
    readers: dict[str, Callable[[str, Any], Any]] = {
        "image": _image,
        "id": _whole(1, LARGEST_ID),
        "found": _whole(1, LARGEST_ID),
        "k": _whole(1, MOST_HITS),
        "verify": _whole(0, MOST_VERIFIED),
        "expand": _whole(0, MOST_EXPANDED),
        "box": _box,
        "quick": _yes_or_no,
        "index": _text,
        "generation": _text,
        "view": _view,
        "query_view": _view,
    }
    for name in fields:
        if name not in readers:
            raise RefusalError(400, f"there is no field {str(name)[:50]!r}; there are {', '.join(readers)}")
    request = SearchRequest(**{name: readers[name](name, value) for name, value in fields.items()})
    if (request.image is None) == (request.id is None):
        raise RefusalError(400, "send a picture, or the id of an indexed one" + (", not both" if request.id else ""))
    return request


def _image(name: str, value: bytes) -> bytes:
    if not value:
        raise RefusalError(422, "the picture cannot be used: an empty file")
    return value


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            bounds = "an id" if most == LARGEST_ID else f"{least} to {most}"
            raise RefusalError(400, f"{name} must be a whole number, {bounds}")
        return value

    return read


def _box(name: str, value: Any) -> Box:
    sides = value if isinstance(value, list) and len(value) == 4 else []
    numbers = [side for side in sides if isinstance(side, int | float) and not isinstance(side, bool)]
    if len(numbers) != 4 or not all(0 <= side <= _LARGEST_SIDE for side in numbers) or min(numbers[2:]) <= 0:
        raise RefusalError(400, "box must be x, y, width, height: four numbers of pixels, and the last two above 0")
    x, y, width, height = map(float, numbers)
    return x, y, width, height


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise RefusalError(400, f"{name} must be true or false")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise RefusalError(400, f"{name} must be a name")
    return value


def _view(name: str, value: Any) -> str:
    text = _text(name, value)
    try:
        return View.from_name(text).name
    except ConfigError:
        raise RefusalError(400, f"{name} must be the name of a view, as hits tell it") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
