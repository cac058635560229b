"""What import-linter cannot say of the packages: private modules, allowed libraries, docstrings, what is installed."""

from __future__ import annotations

import ast
import configparser
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.documentation import ROOT, modules

MODULES = modules()
PACKAGES = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")


def imported(name: str, path: Path) -> Iterator[str]:
    """Yields the modules that a file imports, wherever in it, and `module.name` for each name taken from a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; this project names modules in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_private_modules_are_imported_inside_their_package_only() -> None:
    private = {name: name.rpartition(".")[0] for name in MODULES if name.rpartition(".")[2].startswith("_")}
    del private["tfvlad.__main__"]
    outside = [
        f"{importer} imports {target}"
        for importer, path in MODULES.items()
        for reference in imported(importer, path)
        for target, package in private.items()
        if (reference == target or reference.startswith(f"{target}.")) and not f"{importer}.".startswith(f"{package}.")
    ]
    # The module that `python -m tfvlad` runs is the console script's.
    assert outside == ["tfvlad.__main__ imports tfvlad.commands._main"]


def test_the_library_does_not_import_its_own_facade() -> None:
    # `import tfvlad` names classes of packages high up in the layers; a package below them would look up.
    named = [name for name in MODULES if not name.startswith(("tfvlad.commands", "tfvlad_flags", "tfvlad_kernels"))]
    facade = {"tfvlad", *(f"tfvlad.{name}" for name in ("Encoder", "EncoderConfig", "Index", "IndexConfig", "Hit"))}
    assert [name for name in named if facade & set(imported(name, MODULES[name]))] == []


def test_the_kernels_import_numpy_and_numba_only() -> None:
    allowed = {"llvmlite", "numba", "numpy", "tfvlad_kernels", *sys.stdlib_module_names}
    kernels = {name: path for name, path in MODULES.items() if name.startswith("tfvlad_kernels")}
    used = {reference.split(".")[0] for name, path in kernels.items() for reference in imported(name, path)}
    assert used <= allowed


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_for(package: str) -> None:
    text = ast.get_docstring(ast.parse(MODULES[package].read_text(encoding="utf-8")))
    assert text
    assert len(text.split()) >= 5


def test_setup_cfg_lists_every_package() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    assert sorted(parser["options"]["packages"].split()) == PACKAGES
