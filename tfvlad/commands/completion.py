"""`tfvlad completion`: a script with which a shell completes the names of commands and flags."""

from __future__ import annotations

import importlib

from absl import flags

from tfvlad.commands._printing import DONE, show
from tfvlad.errors import ConfigError

OPERANDS = "bash|zsh|fish"

_BASH = """\
_tfvlad() {{
  local word=${{COMP_WORDS[COMP_CWORD]}}
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
  elif [[ $word == -* ]]; then
    local flags=
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -o bashdefault -F _tfvlad tfvlad
"""


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags: there are none."""


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if len(operands) != 1 or operands[0] not in scripts:
        raise ConfigError(f"give one shell: {', '.join(scripts)}")
    show(scripts[operands[0]]().rstrip())
    return DONE


def _bash() -> str:
    flags_of = {name: " ".join(f"--{flag}" for flag in its) for name, its in _flags().items()}
    cases = "\n".join(f'      {name}) flags="{its}" ;;' for name, its in flags_of.items())
    return _BASH.format(commands=" ".join(flags_of), cases=cases)


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    from tfvlad.commands._main import COMMANDS

    lines = [
        f"complete -c tfvlad -n __fish_use_subcommand -f -a {name} -d {_quoted(COMMANDS[name])}" for name in COMMANDS
    ]
    lines += [
        f"complete -c tfvlad -n '__fish_seen_subcommand_from {name}' -l {flag}"
        for name, its in _flags().items()
        for flag in its
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"\'") + "'"


def _flags() -> dict[str, list[str]]:
    """The names of each command's flags."""
    from tfvlad.commands._main import COMMANDS

    names = {}
    for name in COMMANDS:
        values = flags.FlagValues()  # type: ignore[no-untyped-call]
        importlib.import_module(f"tfvlad.commands.{name}").define(values)
        names[name] = sorted([*values, "help", "flagfile"])
    return names
