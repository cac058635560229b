from __future__ import annotations

from collections.abc import Iterator

import numba
import pytest


@pytest.fixture
def thread_counts() -> Iterator[range]:
    """All numbers of threads there can be; afterwards Numba uses as many as before."""
    before = numba.get_num_threads()
    yield range(1, numba.config.NUMBA_NUM_THREADS + 1)
    numba.set_num_threads(before)
