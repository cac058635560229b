"""Work shared among Numba's threads."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.np.arrayobj import make_array

from tfvlad_kernels.emit import compiles_to
from tfvlad_kernels.jit import compile_as

Arguments = ParamSpec("Arguments")
Counter = npt.NDArray[np.intp]

# Numba's `workqueue` threading layer aborts the process when two Python threads are in parallel regions at once, and
# GNU OpenMP does so when a forked child enters one after its parent did.
_region = threading.Lock()
_entered = False
_forked = False


def _after_fork() -> None:
    global _region, _forked
    _region = threading.Lock()  # another thread of the parent may have held it
    _forked = _entered


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def thread_count() -> int:
    """How many threads a parallel kernel will use: `numba.get_num_threads()`, or 1 where threads would be unsafe."""
    return 1 if _forked else int(numba.get_num_threads())


def parallel_kernel(
    function: Callable[Concatenate[int, Counter, int, Arguments], None],
) -> Callable[Concatenate[int, Arguments], None]:
    """Compiles a function twice: with its `prange` loop on Numba's threads, and as a plain loop for a single one.

    Args:
      function: its first arguments are how many workers its loop is to start, the counter from which they `take` the
        numbers of their pieces of work, and how many pieces there are.

    Returns:
      What is called with the number of pieces and the function's other arguments.
    """
    serial = compile_as("serial", function)
    parallel = compile_as("parallel", function, parallel=True)

    @functools.wraps(function)
    def run(pieces: int, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        global _entered
        workers, counter = min(thread_count(), pieces), np.zeros(1, np.intp)
        if workers <= 1:
            serial(1, counter, pieces, *args, **kwargs)
        else:
            with _region:
                _entered = True
                parallel(workers, counter, pieces, *args, **kwargs)

    return run


def take(counter: Counter) -> int:
    """Returns the next number, from 0, of a count that all threads share, and moves the count on.

    Threads that take one piece of work after the other finish together even where the pieces, or the processor's
    cores, are not alike. What a piece computes must not depend on who takes it.
    """
    number = int(counter[0])
    counter[0] += 1
    return number


def _generate_take(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    address = make_array(signature.args[0])(context, builder, args[0]).data
    return builder.atomic_rmw("add", address, context.get_constant(types.intp, 1), "monotonic")


compiles_to(take, lambda _, counter: (types.intp(counter), _generate_take))
