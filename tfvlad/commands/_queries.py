"""Where queries come from: files, folders, standard input, and the web where that is asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Sequence

from tfvlad.errors import ConfigError, Failure
from tfvlad.images.listing import image_paths

STANDARD_INPUT = "-"
_MOST_BYTES = 64 * 2**20  # of a picture that is not a file
_SECONDS = 30.0  # for fetching a picture, redirects included
_REDIRECTS = 5


@contextlib.contextmanager
def queries_of(operands: Sequence[str], fetch: bool) -> Iterator[tuple[dict[str, str], list[Failure]]]:
    """Gives the image files that operands stand for; pictures that are no files are, for the length of the block.

    Args:
      operands: image files, folders of them, ``-`` for a picture on standard input, and URLs.
      fetch: whether URLs may be fetched.

    Yields:
      The name of each query by its file, and the pictures that could not be had.

    Raises:
      ConfigError: a URL is given, and may not be fetched.
    """
    for operand in operands:
        if _is_url(operand) and not fetch:
            raise ConfigError(f"{operand} is on the web; --fetch gets it from there")
    names: dict[str, str] = {}
    failures = []
    with tempfile.TemporaryDirectory(prefix="tfvlad-") as folder:
        for number, operand in enumerate(operands):
            if os.path.isdir(operand):
                names |= {path: path for path in image_paths(operand)}
            elif operand == STANDARD_INPUT or _is_url(operand):
                try:
                    data = _fetched(operand) if _is_url(operand) else _piped()
                except ValueError as error:
                    failures.append(Failure(operand, str(error)))
                    continue
                names[_kept(data, os.path.join(folder, str(number)), operand)] = operand
            else:
                names[operand] = operand
        yield names, failures


def _is_url(operand: str) -> bool:
    return operand.startswith(("http://", "https://"))


def _kept(data: bytes, folder: str, operand: str) -> str:
    """Writes a picture into a new folder, under the last name in its URL, and returns its path."""
    name = os.path.basename(urllib.parse.urlsplit(operand).path)
    safe = "".join(
        character for character in name if character.isascii() and (character.isalnum() or character in "._-")
    )
    path = os.path.join(folder, safe.strip(".")[-100:] or "picture")
    os.mkdir(folder)
    with open(path, "wb") as file:
        file.write(data)
    return path


def _piped() -> bytes:
    """Reads standard input.

    Raises:
      ValueError: it has too many bytes.
    """
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
    return data


def _fetched(url: str) -> bytes:
    """Gets what is at a URL.

    Raises:
      ValueError: it cannot be had, in one line.
    """
    from tfvlad.serving.bounded_http import TooLongError, UnavailableError, ask

    until = time.monotonic() + _SECONDS
    for _ in range(_REDIRECTS + 1):
        try:
            answer = ask(url, None, {"Accept": "image/*"}, _MOST_BYTES, until)
        except TimeoutError:
            raise ValueError(f"it is not there within {_SECONDS:g} s") from None
        except TooLongError:
            raise ValueError(f"more than {_MOST_BYTES >> 20} MiB") from None
        except UnavailableError as error:
            raise ValueError(str(error)) from None
        if not 300 <= answer.status < 400 or answer.location is None:
            if answer.status != 200:
                raise ValueError(f"{answer.status} {answer.reason}")
            return answer.body
        url = urllib.parse.urljoin(url, answer.location)
        if not _is_url(url):
            raise ValueError("it leads to what is not on the web")
    raise ValueError(f"it leads to more than {_REDIRECTS} other addresses")
