from __future__ import annotations

import numba
import numpy as np

from tfvlad_kernels.threads import Counter, parallel_kernel, take, thread_count


@parallel_kernel
def mark(workers: int, counter: Counter, pieces: int, marks: np.ndarray) -> None:
    for _ in numba.prange(workers):
        piece = take(counter)
        while piece < pieces:
            marks[piece] += 1
            piece = take(counter)


def test_every_piece_of_work_is_taken_once(thread_counts: range) -> None:
    for threads in thread_counts:
        numba.set_num_threads(threads)
        assert thread_count() == threads
        for pieces in (0, 1, 2, 10_000):
            marks = np.zeros(10_000)
            mark(pieces, marks)
            assert (marks[:pieces] == 1).all()
            assert not marks[pieces:].any()
