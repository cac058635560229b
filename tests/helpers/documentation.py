"""The documentation's pages, their code blocks, and the names that texts refer to: tests execute and resolve them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
# Where each package's sources are: `kernels` and `flags` are installed under longer names.
SOURCES = {"tfvlad": ROOT / "tfvlad", "tfvlad_kernels": ROOT / "kernels", "tfvlad_flags": ROOT / "flags"}
REFERENCE = re.compile(r"`((?:tfvlad|tfvlad_kernels|tfvlad_flags)(?:\.\w+)+)")


def pages() -> list[Path]:
    """Every page that a reader of the repository or of its site is shown."""
    return [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str, page: Path = README) -> list[str]:
    """The fenced blocks of one language in a page, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path, *languages: str) -> list[list[str]]:
    """The `tfvlad` command lines in a page's blocks, without `tfvlad` itself: the command's name and its arguments.

    A block of ``bash`` holds lines that work on a folder of photographs, ``sh`` such as need what is not at hand (a
    public data set, Docker), and ``console`` lines that begin with ``$`` with what they print.
    """
    lines = [
        line.removeprefix("$ ")
        for language in languages
        for block in blocks(language, page)
        for line in block.replace("\\\n", " ").splitlines()
        if language != "console" or line.startswith("$ ")
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tfvlad ")]


def modules() -> dict[str, Path]:
    """The file of every module of the project, by the module's name."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


def exists(reference: str) -> bool:
    """Whether a dotted name is a module, or what can be had from one: a class, a function, an attribute.

    Example:
      >>> exists("tfvlad.Encoder.encode")
      True
      >>> exists("tfvlad.Encoder.decode")
      False
    """
    parts = reference.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            if importlib.util.find_spec(name) is None:
                continue
        except ModuleNotFoundError:
            continue
        found: Any = importlib.import_module(name)
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return inspect.isclass(found) and attribute in _instance_attributes(found)
            found = getattr(found, attribute)
        return True
    return False


def _instance_attributes(found: type) -> set[str]:
    """The attributes that a class declares, or sets on itself in any of its methods."""
    names: set[str] = set()
    for base in found.__mro__[:-1]:
        names |= set(vars(base).get("__annotations__", {}))
        names |= set(re.findall(r"self\.(\w+)\b[^=\n]*=", inspect.getsource(base)))
    return names
