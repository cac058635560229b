"""`tfvlad COMMAND [--flags]`: finds the command, parses its flags, and turns mistakes into one line."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Sequence

from absl import flags

import tfvlad
from tfvlad.commands.help import command_help, overview
from tfvlad.errors import TfvladError

DONE, SOME_FAILED, UNUSABLE = 0, 1, 2

COMMANDS = {
    "fit": "learn an encoder from a folder of images",
    "index": "bring an index in line with a folder of images",
    "search": "find the images that show the same as a query",
    "evaluate": "measure a search against ground truth",
    "layers": "list the layers that local features can be taken from",
    "demo": "the whole way on images that it draws itself",
}


def main() -> None:
    """The console script."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _hush_native_code()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
      arguments: the command's name, its flags and what else it takes.

    Returns:
      The exit status: 0 done; 1 done, but some inputs failed; 2 wrong usage or unusable input.
    """
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(overview(COMMANDS))
        return DONE if arguments else UNUSABLE
    if arguments[0] == "--version":
        print(f"tfvlad {tfvlad.__version__}")
        return DONE
    name = arguments[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        return _refuse(f"tfvlad: there is no command {name!r}; {hint}")
    command = importlib.import_module(f"tfvlad.commands.{name}")
    values = flags.FlagValues()  # type: ignore[no-untyped-call]
    values.set_gnu_getopt(True)  # flags and file names in any order
    command.define(values)
    if {"--help", "-h", "--helpfull"} & set(arguments[1:]):
        print(command_help(name, COMMANDS[name], command.OPERANDS, values))
        return DONE
    try:
        operands = values([name, *arguments[1:]])[1:]
        if operands and not command.OPERANDS:
            return _refuse(f"tfvlad {name}: {operands[0]!r} was not expected; a flag is --name=value")
        return int(command.run(values, operands))
    except flags.Error as error:
        return _refuse(f"tfvlad {name}: {_plain(error)}; see tfvlad {name} --help")
    except TfvladError as error:
        return _refuse(f"tfvlad {name}: {error}")
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _refuse(
            f"tfvlad {name}: {os.fsdecode(error.filename or '')}: {error.strerror or error}".replace(": :", ":")
        )
    except KeyboardInterrupt:
        print("interrupted; what was committed is kept", file=sys.stderr)
        return 130


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return UNUSABLE


def _plain(error: flags.Error) -> str:
    """What absl says, without its preambles (``flag --images=None: --images is needed``)."""
    lines = [re.sub(r"^flags? .*?: (?=--)", "", line.strip()) for line in str(error).splitlines()]
    return "; ".join(filter(None, lines))


def _hush_native_code() -> None:
    """Keeps the chatter of C libraries (CUDA probing, libjpeg) off the terminal; Python's own messages stay.

    TFVLAD_NATIVE_LOG names a file to keep it in.
    """
    sys.stderr.flush()
    ours = os.dup(2)
    log = os.open(os.environ.get("TFVLAD_NATIVE_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(log, 2)
    os.close(log)
    sys.stderr = open(ours, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
