"""Descriptors of one kind -> a cell for each number of dimensions: whitening, exact rankings, judgement."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tfvlad.encoding.whitening import Whitening, fit_whitening, fits_exactly
from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import Dataset
from tfvlad.index.ranking import block_size, rank_exactly
from tfvlad.sweep.results import SHOWN, Quality
from tfvlad.sweep.roles import Roles, Rows

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_BLOCK_VALUES = 1 << 24  # of descriptors, or of rankings, that are held at a time
_SMALLEST_NORM = 1e-12


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one number of dimensions gives.

    Attributes:
      qualities: as in `tfvlad.sweep.results.Cell`.
      top: likewise.
      whitening_ms: milliseconds per image.
    """

    qualities: dict[str, Quality]
    top: Ids
    whitening_ms: float


def judge_dims(
    rows: Floats,
    roles: Roles,
    dataset: Dataset,
    dims: Sequence[int],
    seed: int,
    on_disk: Callable[[tuple[int, ...]], Floats],
) -> Iterator[tuple[int, Judged | str]]:
    """Judges descriptors with each number of dimensions, the most first, as if there were no other.

    Where a whitening with fewer dimensions has the first of one with more, as an exact fit does, it is not fitted
    again: only scaled to unit length again.

    Args:
      rows: (n, D) float32, unit length.
      roles: which row is what.
      dataset: queries, database and right answers.
      dims: dimensions to leave; 0 is the whole, unwhitened descriptor.
      seed: of the randomised SVD.
      on_disk: makes an array of a shape, for what would not fit into memory.

    Yields:
      Number of dimensions, and what it gives or why it is not possible.
    """
    whitened: Floats | None = None
    whitening_ms = 0.0  # of each dimension
    for dim in sorted(dims, reverse=True):
        if not dim:
            yield dim, Judged(*_judge(rows, np.asarray, roles, dataset), 0.0)
            continue
        if whitened is None or not fits_exactly((len(roles.fit), rows.shape[1]), dim):
            try:
                whitening = fit_whitening(_taken(rows, roles.fit), dim, seed)
            except ConfigError as error:
                yield dim, str(error)
                continue
            start = time.perf_counter()
            whitened = None  # its place on disk is taken again
            whitened = on_disk((len(rows), dim))
            _project(rows, whitening, whitened)
            whitening_ms = (time.perf_counter() - start) / max(1, len(rows)) / dim * 1e3
        yield dim, Judged(*_judge(whitened[:, :dim], _unit_length, roles, dataset), whitening_ms * dim)


def _taken(rows: Floats, places: Rows) -> Floats:
    """Some of the rows; not copied where they are the first ones, as they are unless images failed."""
    first = np.array_equal(places, np.arange(len(places)))
    return np.asarray(rows[: len(places)] if first else rows[places])


def _project(rows: Floats, whitening: Whitening, projected: Floats) -> None:
    """(n, D) -> (n, dim), whitened, not yet of unit length."""
    projection, offset = whitening.folded()
    step = max(1, _BLOCK_VALUES // rows.shape[1])
    for start in range(0, len(rows), step):
        projected[start : start + step] = rows[start : start + step] @ projection - offset


def _unit_length(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, _SMALLEST_NORM), np.float32)


def _judge(
    vectors: Floats, normalise: Callable[[Floats], Floats], roles: Roles, dataset: Dataset
) -> tuple[dict[str, Quality], Ids]:
    ids = np.array([image.id for image in dataset.database], np.int64)
    there = np.flatnonzero(roles.database >= 0)
    usable = np.flatnonzero(roles.queries >= 0)
    position_of = dict(zip(ids.tolist(), range(len(ids)), strict=True))
    count = len(dataset.queries)
    values = {protocol: np.full(count, np.nan) for protocol in dataset.protocols}
    first_ranks = {protocol: np.zeros(count, np.int64) for protocol in dataset.protocols}
    top = np.full((count, SHOWN), -1, np.int64)
    most = max(1, _BLOCK_VALUES // max(1, len(ids), vectors.shape[1]))
    for start in range(0, len(usable), most):
        asked = usable[start : start + most]
        queries = normalise(vectors[roles.queries[asked]])

        def blocks(asked: int = len(asked)) -> Iterator[tuple[Ids, Floats]]:
            step = block_size(asked, vectors.shape[1])
            for first in range(0, len(there), step):
                part = there[first : first + step]
                yield ids[part], normalise(vectors[roles.database[part]])

        rankings = rank_exactly(queries, blocks(), len(there)).images
        for protocol, judgement in dataset.select(asked.tolist()).judge(rankings, (1,)).items():
            values[protocol][asked] = judgement.values
            ranks = judgement.evaluation.first_ranks
            first_ranks[protocol][asked] = np.where(np.isfinite(ranks), ranks, 0)
        for query, ranking in zip(asked.tolist(), rankings.tolist(), strict=True):
            junk = set(dataset.ground_truth[query]["junk"])
            hits = (position_of[image] for image in ranking if image not in junk)
            found = list(itertools.islice(hits, SHOWN))
            top[query, : len(found)] = found
    return {protocol: _quality(values[protocol], first_ranks[protocol]) for protocol in values}, top


def _quality(values: npt.NDArray[np.float64], first_ranks: Ids) -> Quality:
    counted = ~np.isnan(values)
    if not counted.any():
        return Quality(float("nan"), values, float("nan"), first_ranks)
    return Quality(float(values[counted].mean()), values, float(np.mean(first_ranks[counted] == 1)), first_ranks)
