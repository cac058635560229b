"""Verification: the re-ranker that compares local features of the query with those of the shortlist's images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfvlad.errors import ArtifactError, ConfigError, ImageError
from tfvlad.images.views import WHOLE, View
from tfvlad.index.catalog import Snapshot
from tfvlad.index.reranking import Candidate, Query
from tfvlad.matching.explanation import box_around, outline
from tfvlad.matching.local_features import LocalFeatures
from tfvlad.matching.verdict import CELLS_PRIOR, SIFT_PRIOR, Calibration
from tfvlad.matching.verification import Candidate as Compared
from tfvlad.matching.verification import CellVerifier, Match, Verifier
from tfvlad.matching.verification import Query as Asked

VERIFIERS = ("cells", "sift")
KNOWN_AGAIN = ("same", "likely")  # verdicts

# What is added to a candidate's score for each inlier beyond those that chance gives: a right answer's some dozens
# decide, and a few more or less among wrong answers leave the order to the descriptors.
_WEIGHT = 0.01
_BY_CHANCE = {"cells": 15, "sift": 5}

Extract = Callable[[Sequence[str]], Sequence[LocalFeatures | None]]


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """A verifier, and what its numbers mean.

    Attributes:
      name: under which its calibration is stored.
      verifier: compares pictures.
      needs_features: whether it looks at local features; otherwise at files.
      prior: the calibration where nothing has been measured.
      by_chance: inliers that unrelated pictures may have.
    """

    name: str
    verifier: Verifier
    needs_features: bool
    prior: Calibration
    by_chance: int


def method(name: str) -> Method:
    """The way to verify that has this name.

    Raises:
      ConfigError: none has it, or it needs a library that is not installed.
    """
    if name == "cells":
        return Method(name, CellVerifier(), True, CELLS_PRIOR, _BY_CHANCE[name])
    if name == "sift":
        from tfvlad.matching.sift import SiftVerifier  # imports OpenCV

        return Method(name, SiftVerifier(), False, SIFT_PRIOR, _BY_CHANCE[name])
    raise ConfigError(f"verifier must be {' or '.join(VERIFIERS)}, got {name!r}")


class Verification:
    """A `tfvlad.index.reranking.Reranker`: counts local features that agree under one transform.

    Attributes:
      depth: the number of images that are verified.
    """

    def __init__(self, depth: int, method: Method, extract: Extract) -> None:
        """See the attributes.

        Args:
          depth: the number of images to verify.
          method: how.
          extract: gives the local features of image files, None for one that cannot be used; it is called where the
            index keeps none.
        """
        self.depth = depth
        self._method = method
        self._extract = extract

    def rerank(self, query: Query, shortlist: Sequence[Candidate], snapshot: Snapshot) -> list[Candidate]:
        """See `tfvlad.index.reranking.Reranker`."""
        verified, rest = list(shortlist[: self.depth]), list(shortlist[self.depth :])
        if not verified:
            return rest
        calibration = read_calibration(snapshot, self._method)
        found = self.compare(query, verified, snapshot)
        judged = [
            self._judged(query, one, match, size, calibration, len(verified))
            for one, (match, size) in zip(verified, found, strict=True)
        ]
        return sorted(judged, key=self._worth, reverse=True) + rest

    def _worth(self, one: Candidate) -> tuple[bool, float]:
        """What a candidate is sorted by: whether it is known again, and then its score with what the inliers add."""
        surplus = max((one.inliers or 0) - self._method.by_chance, 0)
        return one.verdict in KNOWN_AGAIN, one.corrected + _WEIGHT * surplus

    def compare(
        self, query: Query, candidates: Sequence[Candidate], snapshot: Snapshot, cells: bool = False
    ) -> list[tuple[Match | None, tuple[int, int] | None]]:
        """Compares a query with images.

        Args:
          query: what is searched for.
          candidates: the images.
          snapshot: the catalog.
          cells: see `tfvlad.matching.Verifier.verify`.

        Returns:
          For each candidate what agrees, and the image's width and height in pixels; None where the former could not be
          found out, or the latter is not known.
        """
        features = self._features(candidates, snapshot)
        turns = [turn_between(query, one) for one in candidates]
        if self._method.needs_features:
            query.know([turn for turn in turns if turn is not None])
        known = list(query.features)
        compared = [
            Compared(
                one.path,
                [features[one.image]] if one.image in features else [],
                list(range(len(known))) if turn is None or turn not in known else [known.index(turn)],
            )
            for one, turn in zip(candidates, turns, strict=True)
        ]
        source: Any = query.source if isinstance(query.source, bytes | np.ndarray) else str(query.source)
        asked = Asked(source, [query.features[turn] for turn in known])
        matches: list[Match | None] = [
            None if match.problem or (self._method.needs_features and not one.views) else match
            for one, match in zip(compared, self._method.verifier.verify(asked, compared, cells), strict=True)
        ]
        sizes = [
            features[one.image].size if one.image in features else None if match is None else _size(one.path)
            for one, match in zip(candidates, matches, strict=True)
        ]
        return list(zip(matches, sizes, strict=True))

    def _features(self, candidates: Sequence[Candidate], snapshot: Snapshot) -> dict[int, LocalFeatures]:
        """The local features of the candidates' images, as far as there are any."""
        images = np.array([one.image for one in candidates], np.int64)
        if snapshot.kept().local_features:
            return {
                image: LocalFeatures.from_bytes(data, snapshot.path)
                for image, data in snapshot.local_features_of(images)
            }
        if not self._method.needs_features:
            return {}
        extracted = self._extract([one.path for one in candidates])
        return {one.image: found for one, found in zip(candidates, extracted, strict=True) if found is not None}

    def _judged(
        self,
        query: Query,
        one: Candidate,
        match: Match | None,
        size: tuple[int, int] | None,
        calibration: Calibration,
        shortlist: int,
    ) -> Candidate:
        if match is None:
            return one
        is_itself = one.image == query.image  # equal bytes show the same, even where no local feature is kept of them
        return one._replace(
            inliers=match.inliers,
            verdict="same" if is_itself else calibration.verdict(match.inliers, shortlist),
            probability=1.0 if is_itself else calibration.probability(match.inliers, shortlist),
            box=None if size is None else box_in(match, query.views[one.query_view], size),
        )


def turn_between(query: Query, candidate: Candidate) -> float | None:
    """The degrees by which the query has to be turned so that it stands as the candidate's whole picture does.

    None where it is not known which view of the query fits.
    """
    if candidate.query_view < 0:
        return None
    try:
        of_image = View.from_name(candidate.view or WHOLE.name).turn
    except ConfigError:  # a view of a later release
        of_image = 0.0
    return View(query.views[candidate.query_view].turn - of_image).turn


def box_in(match: Match, view: View, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Where a view of the query lies in the found picture, (width, height) pixels: x, y, width, height; or None."""
    if match.transform is None:
        return None
    box = box_around(outline(match.transform, view.box))
    if box is None:
        return None
    x1, y1, x2, y2 = np.rint(np.array(box) * (*size, *size)).astype(int).tolist()
    return x1, y1, max(x2 - x1, 1), max(y2 - y1, 1)


def read_calibration(snapshot: Snapshot, method: Method) -> Calibration:
    """What the catalog says of a method's numbers; the method's prior where it says nothing.

    Raises:
      ArtifactError: it is damaged.
    """
    stored = snapshot.calibrations()
    if stored is None:
        return method.prior
    if not isinstance(stored, Mapping):
        raise ArtifactError(snapshot.path, "damaged: it is no calibration of a verdict")
    return Calibration.from_json(stored[method.name], snapshot.path) if method.name in stored else method.prior


def _size(path: str) -> tuple[int, int] | None:
    from tfvlad.images.crops import upright_size  # imports TensorFlow, as the verifier did that has read the file

    try:
        return upright_size(path)
    except ImageError:
        return None
