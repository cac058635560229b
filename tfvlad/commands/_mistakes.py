"""What went wrong, in words for one line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence

from absl import flags

# What absl and Python say, and how it is put to a user.
_WORDING: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^flags? .*?: (?=--)", ""),  # flag --images=None: --images is needed
    (r"^flag (?=--)", ""),
    (r"value should be one of <(.*)>", lambda found: f"must be {' or '.join(found[1].split('|'))}"),
    (r"invalid literal for int\(\).*", "not a whole number"),
    (r"\('Non-boolean.*", "must be true or false"),
    (r"could not convert string to float.*", "not a number"),
    (r"^ERROR:: Unable to open flagfile: \[.*?\] (.*): '(.*)'$", r"--flagfile=\2: \1"),
)


def no_command(name: str, commands: Sequence[str]) -> str:
    """What is wrong with a command line that does not start with a command."""
    there_are = f"there are {', '.join(commands)}"
    if not name:
        return f"a command is needed; {there_are}"
    if name.startswith("-"):
        return f"the command comes before {name}; {there_are}"
    close = difflib.get_close_matches(name, commands, n=1)
    return f"there is no command {name!r}; " + (f"did you mean {close[0]}?" if close else there_are)


def flag_mistake(error: flags.Error | ValueError, names: Sequence[str]) -> str:
    """What is wrong with a command's flags.

    Args:
      error: what parsing them raised.
      names: the flags that there are.
    """
    if isinstance(error, UnicodeDecodeError):
        return "the flagfile is not a text file"
    if isinstance(error, flags.UnrecognizedFlagError):
        close = difflib.get_close_matches(error.flagname, names, n=1)
        return f"there is no flag --{error.flagname}" + (f"; did you mean --{close[0]}?" if close else "")
    return "; ".join(_reword(line.strip()) for line in str(error).splitlines() if line.strip())


def system_error(error: OSError) -> str:
    """What the operating system refused, and for which file where that is known."""
    reason = error.strerror or str(error) or type(error).__name__
    place = error.filename2 or error.filename  # of two, such as a renamed file's, the second is the one asked for
    return f"{os.fsdecode(place)}: {reason}" if isinstance(place, str | bytes | os.PathLike) else reason


def _reword(line: str) -> str:
    for pattern, plain in _WORDING:
        line = re.sub(pattern, plain, line)
    return line
