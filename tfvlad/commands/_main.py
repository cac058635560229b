"""`tfvlad COMMAND [--flags]`: finds the command, parses its flags, and turns mistakes into one line."""

from __future__ import annotations

import importlib
import io
import os
import stat
import sys
from collections.abc import Sequence

from absl import flags

from tfvlad.commands._messages import command_help, flag_mistake, no_command, overview, system_error
from tfvlad.commands._printing import DONE, note
from tfvlad.errors import TfvladError
from tfvlad.progress import show_plain_lines
from tfvlad.version import __version__

UNUSABLE, INTERRUPTED = 2, 130

_LONGEST_FLAGFILE = 2**20  # bytes

COMMANDS = {
    "fit": "learn an encoder from a folder of images",
    "index": "bring an index in line with a folder of images",
    "search": "find the images that show the same as a query",
    "explain": "show why an image is found: what agrees in it and the query",
    "duplicates": "list the groups of files that show the same picture",
    "serve": "answer searches over HTTP, with a page to search in the browser",
    "evaluate": "measure a search against ground truth",
    "sweep": "try layers, scales and encodings on your images, and report which find best",
    "export": "write an encoder as a SavedModel for TensorFlow Serving",
    "bench": "say how fast an encoder is on your images, and where the time goes",
    "layers": "list the networks, or the layers of one that local features can be taken from",
    "convert": "turn GoogLeNet's published weights into a file for --weights",
    "doctor": "say what is installed, what it computes with, and whether an index is sound",
    "completion": "print a script with which a shell completes commands and flags",
    "demo": "the whole way on images that it draws itself",
}

# Commands that fit nothing. They do without scikit-learn, which Keras imports where it is, for wrappers that are not
# used here: that takes as long as a search.
_FIT_NOTHING = {
    "search", "explain", "duplicates", "serve", "evaluate", "export", "bench", "layers", "convert", "doctor",
}  # fmt: skip

_HELP = {"--help", "-help", "-h", "--helpfull"}


def main() -> None:
    """Runs the command that the process was started with; the console script ``tfvlad`` calls this."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _FIT_NOTHING & set(sys.argv[1:2]):
        sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    _prepare_streams()
    show_plain_lines()
    sys.exit(_delivered(run(sys.argv[1:])))


def run(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
      arguments: the command's name, followed by its flags and operands.

    Returns:
      The exit status: 0 done; 1 done, but some inputs failed; 2 wrong usage or unusable input; 130 interrupted.
    """
    name, *rest = arguments or [""]
    speaker = f"tfvlad {name}" if name in COMMANDS else "tfvlad"
    try:
        if name == "help" and rest and rest[0] in COMMANDS:
            name, rest = rest[0], ["--help"]
        if name in {"help", *_HELP}:
            print(overview(COMMANDS))
            return DONE
        if name == "--version":
            print(f"tfvlad {__version__}")
            return DONE
        if name not in COMMANDS:
            return _refuse(f"{speaker}: {no_command(name, list(COMMANDS))}")
        return _run_command(name, rest)
    except TfvladError as error:
        return _refuse(f"{speaker}: {error}")
    except BrokenPipeError:  # the reader, such as `head`, has stopped reading
        return DONE
    except OSError as error:
        return _refuse(f"{speaker}: {system_error(error)}")
    except KeyboardInterrupt:
        print(f"{speaker}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not _lacks_memory(error):
            raise
        return _refuse(f"{speaker}: there is not enough memory")


def _run_command(name: str, arguments: Sequence[str]) -> int:
    command = importlib.import_module(f"tfvlad.commands.{name}")
    values = _Flags()  # type: ignore[no-untyped-call]
    values.set_gnu_getopt(True)  # flags and file names in any order
    command.define(values)
    if _HELP & set(arguments):
        print(command_help(name, COMMANDS[name], command.OPERANDS, values))
        return DONE
    try:
        operands = values([name, *arguments])[1:]
    except (flags.Error, ValueError) as error:
        return _refuse(f"tfvlad {name}: {flag_mistake(error, list(values))} (see tfvlad {name} --help)")
    if operands and not command.OPERANDS:
        return _refuse(f"tfvlad {name}: {operands[0]!r} was not expected; a flag is --name=value")
    return int(command.run(values, operands))


def _refuse(message: str) -> int:
    note(message.strip())
    return UNUSABLE


def _lacks_memory(error: Exception) -> bool:
    """Whether Python, NumPy or TensorFlow could not get memory, or the system could not start a thread."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "ResourceExhaustedError"}) or "can't start new thread" in str(error)


class _Flags(flags.FlagValues):
    """Flags whose flagfiles are regular files of a sensible length; absl would wait for whatever else there is."""

    def _get_flag_file_lines(self, filename: str, parsed_file_stack: list[str] | None = None) -> list[str]:
        if filename:
            try:
                status = os.stat(filename)
            except OSError as error:
                raise flags.Error(f"--flagfile={filename}: {error.strerror}") from None
            if stat.S_ISDIR(status.st_mode):
                raise flags.Error(f"--flagfile={filename}: Is a directory")
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST_FLAGFILE:
                raise flags.Error(f"--flagfile={filename}: not a file of flags")
        lines: list[str] = super()._get_flag_file_lines(filename, parsed_file_stack)  # type: ignore[no-untyped-call]
        return lines


def _prepare_streams() -> None:
    """Keeps what C libraries print (CUDA probing, libjpeg) off the terminal; Python's own messages stay.

    It goes to the file that the environment variable TFVLAD_NATIVE_LOG names, or nowhere. Characters of file names that
    the terminal cannot show are escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:  # The caller closed it; no other file may get its descriptor.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr.flush()
    ours = os.dup(2)
    sys.stderr = open(ours, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
    try:
        log = os.open(os.environ.get("TFVLAD_NATIVE_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        sys.exit(_refuse(f"tfvlad: TFVLAD_NATIVE_LOG: {system_error(error)}"))
    os.dup2(log, 2)
    os.close(log)


def _delivered(status: int) -> int:
    """Flushes standard output and returns the exit status; it may be closed, its reader gone, or the disk full."""
    if sys.stdout is None:
        return status if status == UNUSABLE else _refuse("tfvlad: standard output is closed, so nothing was printed")
    try:
        print(end="", flush=True)
    except OSError as error:
        # Otherwise Python would flush again when it ends, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if status != UNUSABLE and not isinstance(error, BrokenPipeError):
            return _refuse(f"tfvlad: standard output: {system_error(error)}")
    return status
