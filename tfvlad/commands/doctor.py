"""`tfvlad doctor`: what is installed, what it computes with, and whether an index is sound."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import re
from typing import TYPE_CHECKING, Any

from absl import flags

import tfvlad
from tfvlad.commands._printing import DONE, SOME_FAILED, print_json, say, show, table
from tfvlad.printable import printable
from tfvlad_flags import paths

if TYPE_CHECKING:
    from tfvlad.index.soundness import Check

OPERANDS = ""

# Extras that add something to the commands, and what.
_EXTRAS = {
    "hnswlib": "graphs",
    "jxl": "JPEG XL files",
    "milvus": "--search milvus:",
    "pgvector": "--search postgresql:",
    "ray": "index --engine ray",
    "raw": "previews in RAW files",
    "service": "serve",
    "sift": "search --verifier sift",
}

# The modules of packages that are also published under other names, such as tensorflow-cpu.
_MODULES = {"opencv-python-headless": "cv2", "tensorflow": "tensorflow"}


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    flags.DEFINE_multi_string("index", [], "Also check this index; may be repeated.", flag_values=values)
    paths.define_format(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    packages, computing, weights = _packages(), _computing(), _weights()
    if values.format == "table":  # an index may take a while to be read
        say(f"tfvlad {tfvlad.__version__}, Python {platform.python_version()}, {platform.platform()}")
        show(f"\n{table(('package', 'version', 'for'), packages)}\n")
        for name, value in {**computing, **weights}.items():
            say(f"{name:<12}{value}")
    indexes: dict[str, list[Check]] = {}
    for path in values.index:
        from tfvlad.index.soundness import check_index

        with tfvlad.Index.open(path) as index:
            indexes[path] = check_index(index)
        if values.format == "table":
            show(f"\n{printable(path)}\n{table(('part', '', 'found'), [_row(check) for check in indexes[path]])}")
    if values.format == "json":
        document: dict[str, Any] = {
            "tfvlad": tfvlad.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: version or None for name, version, _ in packages},
            **computing,
            **weights,
            "indexes": {path: [dataclasses.asdict(check) for check in checks] for path, checks in indexes.items()},
        }
        print_json(document)
    return DONE if all(check.sound for checks in indexes.values() for check in checks) else SOME_FAILED


def _packages() -> list[tuple[str, str, str]]:
    """The packages that tfvlad needs, or can use: name, version ("" where it is not installed), what for."""
    rows = []
    for requirement in importlib.metadata.requires("tfvlad") or []:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if name is None or (extra and extra[1] not in _EXTRAS):
            continue
        version = _version(name[0])
        use = _EXTRAS[extra[1]] if extra else ""
        rows.append((name[0], version, f"{use}: pip install 'tfvlad[{extra[1]}]'" if extra and not version else use))
    return rows


def _version(name: str) -> str:
    """A package's version, or that of another one that brings the same modules; nothing where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        others = importlib.metadata.packages_distributions().get(_MODULES.get(name, ""), [])
        return f"{importlib.metadata.version(others[0])} ({others[0]})" if others else ""


def _computing() -> dict[str, str]:
    """What networks are run with, the precision that pays there, and the library of the graphs."""
    from tfvlad.encoding.throughput import computes_bfloat16, processor
    from tfvlad.index.graph_backends import installed_backend

    pays, backend = computes_bfloat16(), installed_backend()
    return {
        "device": processor(),
        "precision": "bfloat16 is the fastest: fit --precision bfloat16" if pays else "float32; others are not faster",
        "graphs": f"made and searched by {backend.library}, in {backend.file_name} of an index",
    }


def _weights() -> dict[str, str]:
    """Where the weights of the networks that go by a name come from."""
    folder = os.path.join(os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras")), "models")
    there = sorted(name for name in os.listdir(folder) if name.endswith(".h5")) if os.path.isdir(folder) else []
    what = ", ".join(there) if there else "nothing yet; Keras downloads them, or give --weights FILE"
    return {"weights": f"{folder}: {what}"}


def _row(check: Check) -> tuple[str, str, str]:
    return check.name, "ok" if check.sound else "NOT SOUND", check.found
