"""Verification of a shortlist: how many local features of a query and of a candidate agree under one transform."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tfvlad.errors import MismatchError
from tfvlad.matching.local_features import SCALE, LocalFeatures
from tfvlad_kernels.verification import verify, verify_pair

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
# As `tfvlad.images.loading.Source`, which is not imported because it brings TensorFlow: a path, an image file's bytes,
# or (H, W, 3) uint8 pixels.
Source: TypeAlias = "str | bytes | npt.NDArray[np.uint8]"

_LARGEST_CHUNK = 2**26  # bytes of candidates' descriptors that are laid out in one piece at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """What is searched for.

    Attributes:
      source: the picture, for verifiers that look at it anew.
      views: its local features, one entry for each view; their positions are in one and the same picture.
      mirrored: whether positions in it are to be mirrored, left for right. No acceptable transform leads back, so that
        what agrees then (but for cells along one line) agrees by chance; see `tfvlad.matching.verdict`.
    """

    source: Source
    views: Sequence[LocalFeatures] = ()
    mirrored: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One image of a shortlist.

    Attributes:
      path: its file, for verifiers that look at it anew.
      views: its local features, one entry for each view that is to be verified.
      query_views: the positions of those of the query's views that it is compared with, such as the one that found it.
    """

    path: str
    views: Sequence[LocalFeatures] = ()
    query_views: Sequence[int] = (0,)


@dataclasses.dataclass(frozen=True, eq=False)
class Match:
    """What agrees between a query and a candidate, in the two of their views that agree most.

    Positions are x and y as fractions (0 to 1) of the whole upright picture's width and height.

    Attributes:
      inliers: how many local features agree under one transform; 0 where there is no acceptable one.
      score: the sum of the cosines of their descriptors; tells apart candidates with as many inliers.
      transform: (3, 3) float64, takes (x, y, 1) in the query to the found image, up to the third component, by which
        the others are to be divided; None without inliers. For cells the last row is 0, 0, 1: the transform is affine.
      query_view: position of the query's view.
      found_view: position of the candidate's.
      cells: (inliers, 2, 2) float32, positions in the query and in the found image of what agrees, where asked for.
      problem: one line where the candidate could not be verified at all, such as for a missing file; else None.
    """

    inliers: int = 0
    score: float = 0.0
    transform: Doubles | None = None
    query_view: int = 0
    found_view: int = 0
    cells: Floats | None = None
    problem: str | None = None


class Verifier(Protocol):
    """A way to verify a shortlist."""

    def verify(self, query: Query, candidates: Sequence[Candidate], cells: bool = False) -> list[Match]:
        """Compares a query with each candidate.

        Args:
          query: what is searched for.
          candidates: the shortlist.
          cells: whether to fill in `Match.cells`, which takes longer.

        Returns:
          One match for each candidate, in their order. It depends on nothing but the query and the candidate.
        """


@dataclasses.dataclass(frozen=True)
class CellVerifier:
    """Verifies by the cells of activation maps: mutual nearest descriptors, then RANSAC; see `tfvlad_kernels`.

    Works in parallel and without the GIL; the results have the same bits on any number of threads. What has no
    structure (one colour, cells along a line, a pattern that repeats) gives no acceptable transform, or few inliers.

    Attributes:
      threshold: in cells; how far two matching cells may be off the transform.
      iterations: hypotheses that are tried for two views, at most.
      affine: whether transforms may stretch and shear; otherwise they scale, turn and move.
    """

    threshold: float = 1.5
    iterations: int = 1000
    affine: bool = True

    def verify(self, query: Query, candidates: Sequence[Candidate], cells: bool = False) -> list[Match]:
        """See `Verifier`.

        Raises:
          MismatchError: a candidate's local features have another number of dimensions than the query's.
        """
        if query.mirrored:
            query = Query(query.source, [_mirrored(view) for view in query.views])
        best = [Match() for _ in candidates]
        for chunk in _chunks(_pairs(query, candidates)):
            for pair, match in zip(chunk, self._compare(query, candidates, chunk), strict=True):
                so_far = best[pair.candidate]
                if (match.inliers, match.score) > (so_far.inliers, so_far.score):
                    best[pair.candidate] = match
        if cells:
            return [self._with_cells(query, *found) for found in zip(candidates, best, strict=True)]
        return best

    def _compare(self, query: Query, candidates: Sequence[Candidate], pairs: list[_Pair]) -> Iterator[Match]:
        found_views = [candidates[pair.candidate].views[pair.found_view] for pair in pairs]
        used = sorted({pair.query_view for pair in pairs})
        query_views = [query.views[view] for view in used]
        result = verify(
            np.concatenate([view.descriptors for view in query_views]),
            np.concatenate([view.in_cells() for view in query_views]),
            np.concatenate([view.descriptors for view in found_views]),
            np.concatenate([view.in_cells() for view in found_views]),
            np.cumsum([0, *map(len, found_views)]),
            self.threshold,
            query_bounds=np.cumsum([0, *map(len, query_views)]),
            query_views=np.array([used.index(pair.query_view) for pair in pairs]),
            iterations=self.iterations,
            affine=self.affine,
        )
        for pair, found, inliers, score, transform in zip(pairs, found_views, *result, strict=True):
            in_fractions = _in_fractions(transform, query.views[pair.query_view], found) if inliers else None
            yield Match(int(inliers), float(score) / SCALE**2, in_fractions, pair.query_view, pair.found_view)

    def _with_cells(self, query: Query, candidate: Candidate, match: Match) -> Match:
        if not match.inliers:
            return dataclasses.replace(match, cells=np.zeros((0, 2, 2), np.float32))
        view, found = query.views[match.query_view], candidate.views[match.found_view]
        matches, agreement = verify_pair(
            view.descriptors,
            view.in_cells(),
            found.descriptors,
            found.in_cells(),
            self.threshold,
            iterations=self.iterations,
            affine=self.affine,
        )
        first, second = matches.pairs[agreement.mask].T
        return dataclasses.replace(match, cells=np.stack([view.positions[first], found.positions[second]], axis=1))


class _Pair(NamedTuple):
    """A view of the query and one of a candidate, each by its position."""

    candidate: int
    query_view: int
    found_view: int
    size: int  # bytes of the latter's descriptors


def _pairs(query: Query, candidates: Sequence[Candidate]) -> Iterator[_Pair]:
    """Yields the pairs of views that can agree: a view without cells cannot."""
    for number, candidate in enumerate(candidates):
        for found_view, found in enumerate(candidate.views):
            for query_view in candidate.query_views:
                view = query.views[query_view]
                if view.descriptors.shape[1] != found.descriptors.shape[1]:
                    raise MismatchError(
                        f"{candidate.path}: its local features have {found.descriptors.shape[1]} dimensions, the "
                        f"query's have {view.descriptors.shape[1]}"
                    )
                if len(view) and len(found):
                    yield _Pair(number, query_view, found_view, found.descriptors.nbytes)


def _mirrored(view: LocalFeatures) -> LocalFeatures:
    return dataclasses.replace(
        view, positions=np.array([1, 0], np.float32) - view.positions * np.array([1, -1], np.float32)
    )


def _chunks(pairs: Iterable[_Pair]) -> Iterator[list[_Pair]]:
    chunk: list[_Pair] = []
    size = 0
    for pair in pairs:
        if chunk and size + pair.size > _LARGEST_CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(pair)
        size += pair.size
    if chunk:
        yield chunk


def _in_fractions(transform: Floats, query: LocalFeatures, found: LocalFeatures) -> Doubles:
    """Makes (3, 3) between fractions of the pictures of (2, 3) between positions in cells."""
    from_query, from_found = (np.diag([*(np.array(view.size) / view.cell_pixels), 1.0]) for view in (query, found))
    affine = np.concatenate([transform.astype(np.float64), [[0.0, 0.0, 1.0]]])
    in_fractions: Doubles = np.linalg.inv(from_found) @ affine @ from_query
    return in_fractions
