"""Measures how long verification takes, with the local features that an encoder gives."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfvlad.config import LOCAL_FEATURES, QUERY_CELLS, VERIFIED
from tfvlad.errors import ImageError
from tfvlad.index.compact import compact
from tfvlad.matching.cells import WHOLE
from tfvlad.matching.verification import Candidate, CellVerifier, Query

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder
    from tfvlad.images.sources import Source

_IMAGES = 16  # whose local features are candidates, in turn
_REPEATED = 5


@dataclasses.dataclass(frozen=True)
class VerificationTime:
    """How long the verification of one query takes.

    Attributes:
      candidates: images that the query is compared with.
      cells: local features of a candidate, on average.
      query_cells: local features of the query.
      milliseconds: wall time for one query, the median of a few.
    """

    candidates: int
    cells: float
    query_cells: int
    milliseconds: float


def time_verification(
    encoder: AnyEncoder, sources: Sequence[Source], candidates: int = VERIFIED
) -> VerificationTime | None:
    """Verifies an image against others as an index does, a few times.

    Args:
      encoder: gives the local features.
      sources: images; the first that can be encoded is the query, and the next few are the candidates, each as often
        as it takes.
      candidates: how many the query is compared with.

    Returns:
      The time; None where none of the images can be encoded.
    """
    kept, query = [], None
    with contextlib.closing(encoder.describe_stream(sources[: _IMAGES + 1])) as stream:
        for described in stream:
            if isinstance(described, ImageError):
                continue
            if query is None:
                query = compact(described.features, described.size, WHOLE, QUERY_CELLS)
            kept.append(compact(described.features, described.size, WHOLE, LOCAL_FEATURES))
    if query is None:
        return None
    others = kept[1:] or kept  # no picture is as slow as itself, all of whose features agree
    shortlist = [Candidate("", [one]) for one in itertools.islice(itertools.cycle(others), candidates)]
    verifier, asked = CellVerifier(), Query("", [query])
    verifier.verify(asked, shortlist[:1])  # compiles
    seconds = []
    for _ in range(_REPEATED):
        start = time.perf_counter()
        verifier.verify(asked, shortlist)
        seconds.append(time.perf_counter() - start)
    cells = statistics.fmean(len(one.views[0]) for one in shortlist)
    return VerificationTime(candidates, cells, len(query), statistics.median(seconds) * 1e3)
