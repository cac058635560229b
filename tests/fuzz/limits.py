"""What an input of a fuzzer may take, and do: its errors are one line, it imports nothing, and memory is bounded."""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
from collections.abc import Iterator

MEMORY = 2**21, 2**12  # bytes that an input may take: so many, and so many for each byte of its own


@contextlib.contextmanager
def limits(data: bytes) -> Iterator[None]:
    """Raises RuntimeError if reading an input in the block imports a module or takes too much memory."""
    modules = set(sys.modules)
    tracemalloc.start()
    try:
        yield
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    if most > MEMORY[0] + MEMORY[1] * len(data):
        raise RuntimeError(f"{len(data)} bytes took {most} bytes of memory")
    if imported := {name for name in set(sys.modules) - modules if not name.startswith("encodings.")}:
        raise RuntimeError(f"imported {sorted(imported)}")
