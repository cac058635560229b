"""The help texts: all commands, and one command's own flags."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from absl import flags

_WIDTH = 100


def overview(commands: Mapping[str, str]) -> str:
    """The list of commands."""
    rows = "\n".join(f"  {name:<10} {summary}" for name, summary in commands.items())
    return (
        "tfvlad finds the photographs that show the same object or place as a query.\n\n"
        f"usage: tfvlad COMMAND [--flags]\n\n{rows}\n\n"
        "tfvlad COMMAND --help tells a command's flags; tfvlad demo shows the whole way."
    )


def command_help(name: str, summary: str, operands: str, values: flags.FlagValues) -> str:
    """One command's usage and flags."""
    usage = " ".join(filter(None, [f"usage: tfvlad {name} [--flags]", operands]))
    blocks = [_flag_help(values[flag]) for flag in sorted(values)]
    blocks.append(_entry("--flagfile=FILE", "Read flags from a file, one a line."))
    return f"tfvlad {name}: {summary}\n\n{usage}\n\n" + "\n".join(blocks)


def _flag_help(flag: flags.Flag[Any]) -> str:
    if flag.boolean:
        title = f"--[no]{flag.name}"
    elif isinstance(flag, flags.EnumFlag):
        title = f"--{flag.name}={{{','.join(flag.parser.enum_values)}}}"
    else:
        title = f"--{flag.name}={flag.flag_type().removeprefix('multi ').upper()}"
    shown = (flag.default_as_str or "").strip("'")
    default = "" if flag.default is None or flag.default is False else f" [{shown}]"
    # Without the choices and the instructions that absl adds.
    text = re.sub(r"^<.*?>: |;\s+repeat this option.*", "", flag.help)
    return _entry(title, text + default)


def _entry(title: str, text: str) -> str:
    return f"  {title}\n{textwrap.fill(text, _WIDTH, initial_indent=' ' * 6, subsequent_indent=' ' * 6)}"
