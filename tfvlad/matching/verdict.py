"""From the number of agreeing cells to a verdict, calibrated on images that nobody has labelled.

Two things make pictures agree that do not show the same, and each has a tail of its own, fitted to pairs of an index's
own images:

- Chance. How many cells agree by chance is seen by comparing pictures with mirror images: the positions of one are
  mirrored, so that no acceptable transform can bring together what the two really have in common (a decoy, as in Elias
  and Gygi, Nature Methods 2007). That holds for pairs that show the same as well, so nothing needs to be known of them.
- Resemblance. Covers have the same logo in the same corner, pages the same layout. It is in the pairs as they are, from
  whose bulk its tail is extrapolated; the few that show the same thing (copies, near-copies) are in the far tail, which
  is not looked at.

The probability of a match is what is left of 1 by the likelier of the two: that chance alone gives the best of a whole
shortlist as many inliers, and that two unrelated images resemble each other so much. "Same" is therefore wrong in at
most one of 1,000 searches that have no answer, by chance, and for at most one of 1,000 pairs of unrelated images.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tfvlad.errors import ArtifactError
from tfvlad.matching.verification import Candidate, Query, Verifier

Doubles = npt.NDArray[np.float64]
Verdict = Literal["same", "likely", "unsure", "different"]

SHORTLIST = 50  # candidates that a query is compared with, where nobody says otherwise
FEWEST_IMAGES = 20  # with fewer, a prior takes the place of the measurement

_LEAST = {"same": 0.999, "likely": 0.99, "unsure": 0.9, "different": 0.0}  # probability
_EXTREME = 0.05  # of the pairs compared with mirror images, whose tail is fitted, where there are many
_FEWEST_EXTREMES = 100
_PRIOR_WEIGHT = 5  # excesses that the prior counts for
_ONE_SIDED = 1.64  # standard errors that a scale is raised by: 95 % confidence
_SMALLEST_SCALE = 0.5
_RELATED = 0.01  # share of unrelated pairs beyond which a pair is taken to be related

_MOST_QUERIES = 100
_PARTNERS = 40  # of each, at most; half of them among its neighbours, where those are known


@dataclasses.dataclass(frozen=True)
class Tail:
    """How often a pair has many inliers: an exponential tail (the peaks over a threshold of extreme value theory).

    Attributes:
      start: inliers from which the tail is modelled.
      share: of pairs that have more.
      scale: inliers by which the share falls to 1/e.
    """

    start: float
    share: float
    scale: float

    def beyond(self, inliers: int) -> float:
        """The share of pairs with so many inliers or more; 1 up to the start."""
        return 1.0 if inliers <= self.start else self.share * math.exp(-(inliers - 1 - self.start) / self.scale)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What numbers of inliers mean for the images of one index and one verifier.

    Attributes:
      chance: the tail of agreement by chance.
      resemblance: the tail of agreement between unrelated images.
      images: how many images took part; 0 for a prior.
      pairs: how many of their pairs were compared.
    """

    chance: Tail
    resemblance: Tail
    images: int = 0
    pairs: int = 0

    @classmethod
    def fit(cls, inliers: npt.ArrayLike, mirrored: npt.ArrayLike, images: int, prior: Calibration) -> Calibration:
        """Fits the tails.

        The fewer images there are, the more both are widened, to the upper end of their confidence interval.

        Args:
          inliers: (P,) of pairs of images, most of which are unrelated.
          mirrored: (P,) of the same pairs, one of each mirrored.
          images: how many different images the pairs are of.
          prior: what to return for fewer than `FEWEST_IMAGES`, and what steadies the tail of a small sample.
        """
        counts, decoys = np.asarray(inliers, np.float64), np.asarray(mirrored, np.float64)
        if counts.shape != decoys.shape or counts.ndim != 1:
            raise ValueError(f"inliers and mirrored must both be (P,), got {counts.shape} and {decoys.shape}")
        if images < FEWEST_IMAGES or not len(counts):
            return prior
        resemblance = _fit_bulk(counts, images, prior.resemblance)
        # What two pictures have in common can leave a few cells along the mirror's axis: related pairs tell nothing.
        limit = resemblance.start + resemblance.scale * math.log(resemblance.share / _RELATED)
        unrelated = decoys[counts <= max(limit, resemblance.start)]
        return cls(_fit_extremes(unrelated, images, prior.chance), resemblance, images, len(counts))

    def probability(self, inliers: int, shortlist: int = SHORTLIST) -> float:
        """The probability (0 to 1) that neither chance nor resemblance explains a match.

        Args:
          inliers: of the match.
          shortlist: how many candidates the query was compared with, times the query's views that each was compared
            with; the more there are, the better is the best that chance gives.
        """
        by_chance = -math.expm1(shortlist * math.log1p(-min(self.chance.beyond(inliers), 1 - 1e-12)))
        return 1 - max(by_chance, self.resemblance.beyond(inliers))

    def verdict(self, inliers: int, shortlist: int = SHORTLIST) -> Verdict:
        """``same`` from a probability of 0.999 on, ``likely`` from 0.99, ``unsure`` from 0.9, else ``different``."""
        probability = self.probability(inliers, shortlist)
        return next(verdict for verdict in get_args(Verdict) if probability >= _LEAST[verdict])

    def thresholds(self, shortlist: int = SHORTLIST) -> dict[Verdict, int]:
        """The fewest inliers that give each verdict."""
        return {
            verdict: bisect.bisect_left(_COUNTS, _LEAST[verdict], key=lambda count: self.probability(count, shortlist))
            for verdict in get_args(Verdict)
        }

    def to_json(self) -> dict[str, Any]:
        """The calibration as values that JSON has."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any, name: str = "<calibration>") -> Calibration:
        """Reads what `to_json` gave.

        Args:
          value: as JSON had it.
          name: what stands for it in an error's message.

        Raises:
          ArtifactError: it is anything else; one line.
        """
        try:
            chance, resemblance = (
                Tail(**{part: _number(number) for part, number in value[key].items()})
                for key in ("chance", "resemblance")
            )
            images, pairs = (int(_number(value[key])) for key in ("images", "pairs"))
            is_sound = len(value) == 4 and _is_sound(chance) and _is_sound(resemblance) and min(images, pairs) >= 0
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            is_sound = False
        if not is_sound:
            raise ArtifactError(name, "damaged: it is no calibration of a verdict")
        return cls(chance, resemblance, images, pairs)


_LARGEST_NUMBER = 1e6
_COUNTS = range(2**40)  # of inliers; beyond what any calibration asks for

# Measured on covers of DVDs and books, and widened: with the cells of VGG16's block4_conv3 at 256 to 320 pixels, and
# with 1,000 SIFT keypoints. Larger images have more cells, and ask for a calibration of their own.
CELLS_PRIOR = Calibration(chance=Tail(17.0, 0.05, 4.0), resemblance=Tail(13.0, 0.5, 6.0))
SIFT_PRIOR = Calibration(chance=Tail(5.0, 0.05, 2.5), resemblance=Tail(5.0, 0.2, 5.0))


def calibrate(
    verifier: Verifier,
    images: Sequence[Candidate],
    prior: Calibration = CELLS_PRIOR,
    neighbours: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
) -> Calibration:
    """Measures what numbers of inliers mean, on pairs of an index's own images.

    It compares at most 4,000 pairs, each twice. Each image's first view is its query.

    Args:
      verifier: what verifies searches, too; a calibration holds for no other.
      images: some of the index's, at random; 200 are plenty.
      prior: see `Calibration.fit`; `SIFT_PRIOR` for `tfvlad.matching.sift.SiftVerifier`.
      neighbours: for each image, positions of others that its descriptor finds, which are harder to tell apart.
      seed: makes the choice of pairs reproducible.
    """
    generator = np.random.default_rng(seed)
    inliers: list[int] = []
    mirrored: list[int] = []
    chosen = generator.permutation(len(images))
    for number in chosen[:_MOST_QUERIES] if len(images) >= FEWEST_IMAGES else ():
        near = [] if neighbours is None else [int(other) for other in neighbours[number] if other != number]
        near = near[: _PARTNERS // 2]
        others = [int(other) for other in generator.permutation(len(images)) if other != number and other not in near]
        candidates = [dataclasses.replace(images[i], query_views=(0,)) for i in (near + others)[:_PARTNERS]]
        image = images[number]
        for is_mirrored, counts in ((False, inliers), (True, mirrored)):
            query = Query(image.path, image.views[:1], is_mirrored)
            counts += [match.inliers for match in verifier.verify(query, candidates)]
    return Calibration.fit(inliers, mirrored, len(images), prior)


def _fit_extremes(counts: Doubles, images: int, prior: Tail) -> Tail:
    """Fits a tail to the largest of some counts."""
    level = 1 - min(max(_EXTREME, _FEWEST_EXTREMES / max(len(counts), 1)), 0.5)
    start = _start(counts, level, prior)
    tails = []
    for _ in range(2):  # once more for the upper half, in case the tail becomes flatter
        excesses = counts[counts > start] - start
        mean = (excesses.sum() + _PRIOR_WEIGHT * prior.scale) / (len(excesses) + _PRIOR_WEIGHT)
        scale = max(float(mean), _SMALLEST_SCALE) * _widening(min(len(excesses) + _PRIOR_WEIGHT, images))
        tails.append(Tail(start, max(len(excesses), 1) / (len(counts) + 1), scale))
        start = float(np.median(counts[counts > start])) if len(excesses) else start
    return max(tails, key=lambda tail: tail.start + tail.scale * math.log(tail.share / 1e-5))


def _fit_bulk(counts: Doubles, images: int, prior: Tail) -> Tail:
    """Fits a tail to the upper half of some counts, but for the largest tenth."""
    # Counts are whole; spread evenly over their unit, they have quantiles between them.
    spread = np.sort(counts) + np.linspace(-0.5, 0.5, len(counts))[_shuffled(len(counts))]
    start = _start(counts, 0.5, prior)
    share = max(float(np.mean(counts > start)), 1 / (len(counts) + 1))
    scales = [(float(np.quantile(spread, 1 - share / fall)) - start) / math.log(fall) for fall in (2.5, 5.0)]
    return Tail(start, share, max(*scales, _SMALLEST_SCALE) * _widening(images))


def _start(counts: Doubles, level: float, prior: Tail) -> float:
    """The quantile at a level, or, where that is below the fewest inliers that a verifier ever gives, those less 1."""
    positive = counts[counts > 0]
    fewest = float(positive.min()) - 1 if len(positive) else prior.start
    return max(float(np.quantile(counts, level, method="inverted_cdf")) if len(counts) else 0.0, fewest)


def _widening(samples: int) -> float:
    """What an exponential's scale is multiplied by to be an upper bound, for so many independent samples."""
    return 1 + _ONE_SIDED / math.sqrt(samples)


def _shuffled(count: int) -> npt.NDArray[np.intp]:
    return np.random.default_rng(0).permutation(count)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)


def _is_sound(tail: Tail) -> bool:
    return (
        0 <= tail.start < _LARGEST_NUMBER
        and 0 < tail.share <= 1
        and _SMALLEST_SCALE / 10 <= tail.scale < _LARGEST_NUMBER
    )
