"""Explanations as JSON: what agrees in the query and a found image, for a page to draw, or as a picture."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from tfvlad.index import Hit
from tfvlad.index.contents import shown_path
from tfvlad.reports.explanation_page import ExplainedMatch, notes
from tfvlad.service.answers import query_source, require_encoder, require_files
from tfvlad.service.named_indexes import OpenIndex
from tfvlad.service.refusals import RefusalError
from tfvlad.service.search_request import SearchRequest

_DIGITS = 5  # of positions


def explain(opened: OpenIndex, name: str, asked: SearchRequest, as_picture: bool) -> dict[str, Any] | bytes:
    """Explains why an image is found.

    Args:
      opened: the index.
      name: of the index.
      asked: the request; its `found` is the image.
      as_picture: whether to draw it.

    Returns:
      What agrees, or the bytes of a PNG.

    Raises:
      RefusalError: there is no file with one of the ids, or the encoder is not loaded yet.
      TfvladError: one of the pictures cannot be used.
    """
    if asked.found is None:
        raise RefusalError(400, "found must be the id of the image that was found")
    require_encoder(opened)
    file = require_files(opened, [asked.found])[asked.found]
    source = query_source(opened, asked)
    hit: Hit | int = asked.found
    if asked.query_view is not None:
        hit = Hit(file.full_path, 0.0, asked.found)
        hit.view, hit.query_view = asked.view, asked.query_view
    told = opened.index.explain(source, hit, box=asked.box, shares=False)
    if as_picture:
        return told.to_png()
    sizes = [pixels.shape[1::-1] for pixels in (told.query_pixels, told.found_pixels)]
    return {
        "index": name,
        "generation": opened.generation,
        "id": asked.found,
        "path": shown_path(file.folder, file.path),
        "inliers": told.match.inliers,
        "verdict": told.verdict,
        "probability": round(told.probability, 6),
        "cells": _numbers(told.cells),
        "query_outline": None if told.query_outline is None else _numbers(told.query_outline),
        "found_outline": None if told.found_outline is None else _numbers(told.found_outline),
        "query_size": list(sizes[0]),
        "found_size": list(sizes[1]),
        "notes": notes(ExplainedMatch.of("", told), *sizes),
    }


def _numbers(values: NDArray[Any]) -> ArrayLike:
    rounded: ArrayLike = values.astype(float).round(_DIGITS).tolist()
    return rounded
