"""Tests the claims of the paper (Ng, Yang and Davis 2015, section 4) on a study: each holds, does not, or is open."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfvlad.config import ENCODING_NAMES, Encoding
from tfvlad.sweep.choice import like_for_like, ranked
from tfvlad.sweep.grid import Setting
from tfvlad.sweep.statistics import Difference, Values, best_of, difference
from tfvlad.sweep.study import Study

SMALL_LOSS = 0.1  # share of the full descriptor's score that a short one may lose
PAPER_DIM = 128

ByPlace = Mapping[tuple[int, str], Values]  # (image size, layer) -> (Q,) measure of each query


class Finding(NamedTuple):
    """One comparison that tests a claim.

    Attributes:
      claim: the claim of the paper.
      comparison: what was compared with what, in words.
      difference: by how much it is better, in the study's measure.
      margin: the claim still holds if the difference is not lower than minus this.
    """

    claim: str
    comparison: str
    difference: Difference
    margin: float = 0.0

    @property
    def verdict(self) -> str:
        """``holds``, ``does not hold`` or ``cannot be told apart from noise``."""
        if self.difference.low > -self.margin:
            return "holds"
        return "does not hold" if self.difference.high < -self.margin else "cannot be told apart from noise"


def findings(study: Study) -> list[Finding]:
    """Tests the claims of the paper on a study, under its first protocol.

    Each encoding takes part with one K and one dimension (see `tfvlad.sweep.choice.like_for_like`). Where the best of
    several layers takes part, it is chosen by other queries than it is measured on (`best_of`).

    Args:
      study: the study.

    Returns:
      The findings; none for a claim whose settings are not in the study.
    """
    vlad = _by_place(study, "vlad")
    return [*_layers(study, vlad), *_scales(study, vlad), *_pooling(study, vlad), *_dimensions(study)]


def _layers(study: Study, vlad: ByPlace) -> Iterator[Finding]:
    last = "".join(study.layers[-1:])
    for size in _sizes(vlad):
        others = [values for (at, layer), values in vlad.items() if at == size and layer != last]
        if others and (size, last) in vlad:
            yield Finding(
                "Intermediate layers beat the last one",
                f"The best other layer against {last}, the last one studied, at {size} px",
                Difference(*best_of(np.stack(others) - vlad[size, last], study.seed)),
            )


def _scales(study: Study, vlad: ByPlace) -> Iterator[Finding]:
    coarse, fine = min(_sizes(vlad), default=0), max(_sizes(vlad), default=0)
    layers = [layer for layer in study.layers if (coarse, layer) in vlad and (fine, layer) in vlad]
    if coarse == fine or not layers:
        return
    half = max(1, len(layers) // 2)
    gains = np.stack([vlad[fine, layer] - vlad[coarse, layer] for layer in layers])
    high, low = gains[-half:].mean(axis=0), gains[:half].mean(axis=0)
    claim = "Finer scales lift the higher layers"
    upper = _span(layers[-half:])
    yield Finding(claim, f"{upper} at {fine} px against {coarse} px", difference(high, 0 * high, study.seed))
    if len(layers) > 1:
        compared = f"What {fine} px gain over {coarse} px: {upper} against {_span(layers[:half])}"
        yield Finding(claim, compared, difference(high, low, study.seed))


def _pooling(study: Study, vlad: ByPlace) -> Iterator[Finding]:
    for encoding in ("mean", "max", "gem"):
        pooled = _by_place(study, encoding)
        places = [place for place in vlad if place in pooled]
        if places:
            mean = difference(_mean(vlad, places), _mean(pooled, places), study.seed)
            name = ENCODING_NAMES[encoding]
            yield Finding("VLAD beats pooling", f"VLAD against {name} of the same layer, {_averaged(places)}", mean)
    connected = _by_place(study, "fc")
    for size in _sizes(connected):
        layers = [features for (at, _), features in vlad.items() if at == size]
        if layers:
            gain = Difference(*best_of(np.stack(layers) - connected[size, ""], study.seed))
            compared = f"VLAD of the best layer against the fully connected features, at {size} px"
            yield Finding("VLAD beats pooling", compared, gain)


def _dimensions(study: Study) -> Iterator[Finding]:
    values = {
        cell.setting: cell.qualities[study.protocols[0]].values
        for cell in ranked(study)
        if cell.setting.encoding == "vlad"
    }
    dims = {setting.dim for setting in values if setting.dim}
    for dim in sorted(dims, key=lambda dim: (abs(dim - PAPER_DIM), dim))[:1]:
        shorts = [setting for setting in values if setting.dim == dim and _full(setting) in values]
        if shorts:
            full = np.mean([values[_full(setting)] for setting in shorts], axis=0)
            short = np.mean([values[setting] for setting in shorts], axis=0)
            margin = SMALL_LOSS * float(np.nanmean(full))
            yield Finding(
                "Short descriptors keep most of the quality",
                f"VLAD of {dim} dimensions against the full one, {_averaged(shorts)}; "
                f"the loss counts as small below {SMALL_LOSS:.0%} of the full VLAD's {study.measure} ({margin:.3f})",
                difference(short, full, study.seed),
                margin,
            )


def _by_place(study: Study, encoding: Encoding) -> ByPlace:
    return {
        (cell.setting.image_size, cell.setting.layer): cell.qualities[study.protocols[0]].values
        for cell in like_for_like(study, encoding)
    }


def _mean(by: ByPlace, places: Sequence[tuple[int, str]]) -> Values:
    return np.asarray(np.mean([by[place] for place in places], axis=0), np.float64)


def _full(setting: Setting) -> Setting:
    return dataclasses.replace(setting, dim=0)


def _sizes(by: ByPlace) -> list[int]:
    return sorted({size for size, _ in by})


def _span(layers: Sequence[str]) -> str:
    return layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


def _averaged(settings: Sequence[object]) -> str:
    return f"averaged over {len(settings)} settings" if len(settings) > 1 else "at one setting"
