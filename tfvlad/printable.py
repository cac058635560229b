"""Text that anybody may have written (names of files, words of servers), made safe to be shown on a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: object) -> str:
    r"""A text as one line, in which every character that could steer a terminal is written as an escape of Python's.

    These are control characters (ESC, newline), characters that end a line or turn its direction, and what cannot be
    encoded, such as bytes of a file name that are not UTF-8. Spaces of all kinds stay.

    Example:
      >>> printable("a\x1b[31m\nb")
      'a\\x1b[31m\\nb'
    """
    told = str(text)
    if told.isprintable():
        return told
    return "".join(character if _is_harmless(character) else _escaped(character) for character in told)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
