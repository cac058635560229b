"""The texts of the command line itself: the help, and what is wrong with a call, in one line."""

from __future__ import annotations

import difflib
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

_WIDTH = 100  # characters of a line of help

_EXAMPLES = """\
  tfvlad fit    --images photos/ --encoder photos.encoder
  tfvlad index  --images photos/ --encoder photos.encoder --index photos.index
  tfvlad search --index photos.index query.jpg --html hits.html"""

# What absl and Python say (regular expressions), and what a user is told instead.
_WORDING: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^flags? .*?: (?=--)", ""),  # flag --images=None: --images is needed
    (r"^flag (?=--)", ""),
    (r"value should be one of <(.*)>", lambda found: f"must be {' or '.join(found[1].split('|'))}"),
    (r"invalid literal for int\(\).*", "not a whole number"),
    (r"\('Non-boolean.*", "must be true or false"),
    (r"could not convert string to float.*", "not a number"),
    (r"^ERROR:: Unable to open flagfile: \[.*?\] (.*): '(.*)'$", r"--flagfile=\2: \1"),
)


def overview(commands: Mapping[str, str]) -> str:
    """Returns the help that lists all commands."""
    rows = "\n".join(f"  {name:<11}{summary}" for name, summary in commands.items())
    return (
        "tfvlad finds the photographs that show the same object or place as a query.\n\n"
        f"{_EXAMPLES}\n\n"
        f"usage: tfvlad COMMAND [--flags]\n\n{rows}\n\n"
        "tfvlad COMMAND --help tells a command's flags; tfvlad demo shows the whole way."
    )


def command_help(name: str, summary: str, operands: str, values: flags.FlagValues) -> str:
    """Returns the help of one command: its usage and its flags."""
    usage = " ".join(filter(None, [f"usage: tfvlad {name} [--flags]", operands]))
    blocks = [_flag_help(values[flag]) for flag in sorted(values)]
    blocks.append(_entry("--flagfile=FILE", "Read flags from a file, one a line."))
    return f"tfvlad {name}: {summary}\n\n{usage}\n\n" + "\n".join(blocks)


def no_command(name: str, commands: Sequence[str]) -> str:
    """Says what is wrong with a command line that does not start with the name of a command."""
    there_are = f"there are {', '.join(commands)}"
    if not name:
        return f"a command is needed; {there_are}"
    if name.startswith("-"):
        return f"the command comes before {name}; {there_are}"
    close = difflib.get_close_matches(name, commands, n=1)
    return f"there is no command {name!r}; " + (f"did you mean {close[0]}?" if close else there_are)


def flag_mistake(error: flags.Error | ValueError, names: Sequence[str]) -> str:
    """Says what is wrong with a command's flags.

    Args:
      error: the exception that parsing them raised.
      names: the names of the command's flags, from which a misspelt one is guessed.
    """
    if isinstance(error, UnicodeDecodeError):
        return "the flagfile is not a text file"
    if isinstance(error, flags.UnrecognizedFlagError):
        close = difflib.get_close_matches(error.flagname, names, n=1)
        return f"there is no flag --{error.flagname}" + (f"; did you mean --{close[0]}?" if close else "")
    return "; ".join(_reword(line.strip()) for line in str(error).splitlines() if line.strip())


def system_error(error: OSError) -> str:
    """Says what the operating system refused and, where that is known, for which file."""
    reason = error.strerror or str(error) or type(error).__name__
    place = error.filename2 or error.filename  # of two, as in renaming, the second is the one that the user asked for
    return f"{os.fsdecode(place)}: {reason}" if isinstance(place, str | bytes | os.PathLike) else reason


def _flag_help(flag: flags.Flag[Any]) -> str:
    if flag.boolean:
        title = f"--[no]{flag.name}"
    elif isinstance(flag, flags.EnumFlag):
        title = f"--{flag.name}={{{','.join(flag.parser.enum_values)}}}"
    else:
        title = f"--{flag.name}={flag.flag_type().removeprefix('multi ').upper()}"
    shown = (flag.default_as_str or "").strip("'")
    default = "" if flag.default is None or flag.default is False else f" [{shown}]"
    # absl adds the choices and instructions to the help text; they are cut off here.
    text = re.sub(r"^<.*?>: |;\s+repeat this option.*", "", flag.help)
    return _entry(title, text + default)


def _entry(title: str, text: str) -> str:
    return f"  {title}\n{textwrap.fill(text, _WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6)}"


def _reword(line: str) -> str:
    for pattern, plain in _WORDING:
        line = re.sub(pattern, plain, line)
    return line
