"""How good descriptors are: whitened to each number of dimensions, ranked exactly, and compared with right answers."""

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
from tfvlad.sweep._plan import Roles, Rows
from tfvlad.sweep.study import SHOWN, Quality

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_BLOCK_VALUES = 1 << 24  # numbers of descriptors, or of rankings, that are held in memory at a time
_SMALLEST_NORM = 1e-12


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How good descriptors are with one number of dimensions.

    Attributes:
      qualities: as in `tfvlad.sweep.study.Cell`.
      top: as in `tfvlad.sweep.study.Cell`.
      whitening_ms: milliseconds per image of the whitening.
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
    shrinkage: float = 0.0,
) -> Iterator[tuple[int, Judgement | str]]:
    """Judges descriptors with each number of dimensions, the largest first. The results do not depend on each other.

    An exact whitening to fewer dimensions gives the first dimensions of one to more. It is therefore not fitted again;
    the descriptors are cut, rescaled where the variances are shrunk, and brought to unit length.

    Args:
      rows: (n, D) float32, full descriptors of unit length.
      roles: what each row is for.
      dataset: queries, database and right answers.
      dims: numbers of dimensions to leave; 0 is the full, unwhitened descriptor.
      seed: of the randomised SVD.
      on_disk: makes an array of a given shape, float32, that need not fit into memory.
      shrinkage: see `tfvlad.EncoderConfig`.

    Yields:
      A number of dimensions, and the judgement or the reason why it is not possible.
    """
    whitened: Floats | None = None
    variances = np.zeros(0, np.float32)
    ms_per_dimension = 0.0
    for dim in sorted(dims, reverse=True):
        if not dim:
            yield dim, Judgement(*_judge(rows, np.asarray, roles, dataset), 0.0)
            continue
        if whitened is None or not fits_exactly((len(roles.fit), rows.shape[1]), dim):
            try:
                whitening = fit_whitening(_taken(rows, roles.fit), dim, seed)
            except ConfigError as error:
                yield dim, str(error)
                continue
            variances = whitening.variances
            start = time.perf_counter()
            whitened = None  # deletes the earlier one, so that its space on disk is free again
            whitened = on_disk((len(rows), dim))
            _project(rows, whitening, whitened)
            ms_per_dimension = (time.perf_counter() - start) / max(1, len(rows)) / dim * 1e3
        kept = variances[:dim].astype(np.float64)
        factors = np.sqrt(kept / (kept + shrinkage * kept.mean())).astype(np.float32)

        def shrunk(vectors: Floats, factors: Floats = factors) -> Floats:
            return _unit_length(vectors * factors)

        yield dim, Judgement(*_judge(whitened[:, :dim], shrunk, roles, dataset), ms_per_dimension * dim)


def _taken(rows: Floats, places: Rows) -> Floats:
    """Some of the rows; not copied if they are the first ones, as they are unless images failed."""
    first = np.array_equal(places, np.arange(len(places)))
    return np.asarray(rows[: len(places)] if first else rows[places])


def _project(rows: Floats, whitening: Whitening, projected: Floats) -> None:
    """Whitens (n, D) rows into (n, dim) `projected`, which are not yet of unit length."""
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
    present = np.flatnonzero(roles.database >= 0)
    usable = np.flatnonzero(roles.queries >= 0)
    position_of = dict(zip(ids.tolist(), range(len(ids)), strict=True))
    number = len(dataset.queries)
    values = {protocol: np.full(number, np.nan) for protocol in dataset.protocols}
    first_ranks = {protocol: np.zeros(number, np.int64) for protocol in dataset.protocols}
    top = np.full((number, SHOWN), -1, np.int64)
    most = max(1, _BLOCK_VALUES // max(1, len(ids), vectors.shape[1]))
    for start in range(0, len(usable), most):
        block = usable[start : start + most]
        queries = normalise(vectors[roles.queries[block]])

        def database(count: int = len(block)) -> Iterator[tuple[Ids, Floats]]:
            step = block_size(count, vectors.shape[1])
            for first in range(0, len(present), step):
                part = present[first : first + step]
                yield ids[part], normalise(vectors[roles.database[part]])

        rankings = rank_exactly(queries, database(), len(present)).images
        for protocol, judgement in dataset.select(block.tolist()).judge(rankings, (1,)).items():
            values[protocol][block] = judgement.values
            ranks = judgement.evaluation.first_ranks
            first_ranks[protocol][block] = np.where(np.isfinite(ranks), ranks, 0)
        for query, ranking in zip(block.tolist(), rankings.tolist(), strict=True):
            junk = set(dataset.ground_truth[query]["junk"])
            hits = (position_of[image] for image in ranking if image not in junk)
            found = list(itertools.islice(hits, SHOWN))
            top[query, : len(found)] = found
    return {protocol: quality_of(values[protocol], first_ranks[protocol]) for protocol in values}, top


def quality_of(values: npt.NDArray[np.float64], first_ranks: Ids) -> Quality:
    """The quality of rankings, from each query's measure, NaN for none, and the rank of its first right answer."""
    counted = ~np.isnan(values)
    if not counted.any():
        return Quality(float("nan"), values, float("nan"), first_ranks)
    return Quality(float(values[counted].mean()), values, float(np.mean(first_ranks[counted] == 1)), first_ranks)
