"""How the kernels are compiled: one set of options, and why."""

from __future__ import annotations

import contextlib
import hashlib
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.misc.appdirs import user_cache_dir

Function = TypeVar("Function", bound=Callable[..., Any])

# No fast-math by default: `reassoc` would let the compiler turn sum + (x - c) into (sum + x) - c, which leaves
# rounding noise where x equals c, and `nnan` and `ninf` would let it drop the checks that find NaN and Inf.
OPTIONS = {"nogil": True, "error_model": "numpy"}
# A sum of squares is the one place that gains: it vectorises only where its additions may be reordered.
REDUCTION = {"reassoc", "contract"}

# What Numba compiles for: this processor, unless NUMBA_CPU_NAME or NUMBA_CPU_FEATURES name another.
CPU_FEATURES = frozenset((get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES).split(","))


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_SOURCES = _digest_of_sources()


def compile_as(variant: str, function: Function, **options: Any) -> Function:
    """Compiles a function when it is first called; `variant` tells apart what the same function is compiled to."""
    # Numba's cache looks only at the file of the function itself, so that a change to a kernel it calls would go
    # unnoticed: the name under which it caches carries a digest of all of the package's files.
    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    copy.__module__ = function.__module__
    copy.__qualname__ = f"{function.__qualname__}.{variant}.{_SOURCES}"
    copy.__doc__ = function.__doc__
    compiled: Function
    try:
        with _cache_of_the_user():
            compiled = numba.njit(copy, cache=True, **OPTIONS, **options)
    except RuntimeError:  # no folder to cache in can be written: compile anew in every process
        compiled = numba.njit(copy, **OPTIONS, **options)
    return compiled


@contextlib.contextmanager
def _cache_of_the_user() -> Iterator[None]:
    """Lets Numba cache in the user's cache folder, unless NUMBA_CACHE_DIR names another one.

    By itself Numba caches beside the sources, where ``pip uninstall`` leaves the files behind. It still does where the
    user's folder cannot be written.
    """
    chosen = config.CACHE_DIR
    config.CACHE_DIR = chosen or os.path.join(user_cache_dir("tfvlad", appauthor=False), "kernels")
    try:
        yield
    finally:
        config.CACHE_DIR = chosen


def kernel(function: Function) -> Function:
    """Compiles a function that runs on the calling thread, without the GIL."""
    return compile_as("kernel", function)


def reduction(function: Function) -> Function:
    """Compiles a function whose sums may be reordered to vectorise."""
    return compile_as("reduction", function, fastmath=REDUCTION)


def inlined(function: Function) -> Function:
    """Compiles a function as a part of those that call it."""
    return compile_as("inlined", function, inline="always")
