"""Searches, and their hits as JSON; paths start at the synchronised folder's own name and tell no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tfvlad.index import Hit, IndexedFile
from tfvlad.index.contents import shown_path
from tfvlad.service.named_indexes import OpenIndex
from tfvlad.service.refusals import LATER, RefusalError
from tfvlad.service.search_request import SearchRequest


def answer_search(opened: OpenIndex, name: str, asked: SearchRequest) -> dict[str, Any]:
    """Searches, and describes what was found.

    Args:
      opened: the index.
      name: of the index.
      asked: the request.

    Raises:
      RefusalError: there is no file with the id, or the encoder is not loaded yet.
      TfvladError: the picture cannot be used.
    """
    hits = _search(opened, asked)
    files = opened.index.locate(hit.id for hit in hits)
    verified = [hit for hit in hits if hit.verdict is not None]
    return {
        "index": name,
        "generation": opened.generation,
        "answered": any(hit.verdict in ("same", "likely") for hit in verified) if verified else None,
        "hits": [hit_as_json(hit, files[hit.id]) for hit in hits if hit.id in files],
    }


def query_source(opened: OpenIndex, asked: SearchRequest) -> bytes:
    """The bytes of the picture that is searched for.

    Raises:
      RefusalError: there is no file with the id.
      ImageError: the file cannot be read, or has changed.
    """
    if asked.image is not None:
        return asked.image
    assert asked.id is not None
    require_files(opened, [asked.id])
    return opened.index.content(asked.id)


def require_files(opened: OpenIndex, ids: Sequence[int]) -> dict[int, IndexedFile]:
    """Where these files are.

    Raises:
      RefusalError: there is no file with one of the ids.
    """
    located = opened.index.locate(ids)
    for file in ids:
        if file not in located:
            raise RefusalError(404, f"the index holds no image with the id {file}")
    return located


def require_encoder(opened: OpenIndex) -> None:
    """Refuses what needs the encoder before that is loaded."""
    if opened.encoder is None:
        raise RefusalError(503, "the encoder is still being loaded; indexed images can be searched for by id", LATER)


def hit_as_json(hit: Hit, file: IndexedFile) -> dict[str, Any]:
    """A hit as it is answered."""
    return {
        "id": hit.id,
        "path": shown_path(file.folder, file.path),
        "score": round(hit.score, 6),
        "inliers": hit.inliers,
        "verdict": hit.verdict,
        "probability": None if hit.probability is None else round(hit.probability, 6),
        "box": None if hit.box is None else list(hit.box),
        "view": hit.view,
        "query_view": hit.query_view,
    }


def _search(opened: OpenIndex, asked: SearchRequest) -> Iterable[Hit]:
    index = opened.index
    verify = 0 if asked.quick else asked.verify
    if asked.id is not None and asked.box is None:
        require_files(opened, [asked.id])
        return index.search_indexed(asked.id, asked.k, verify=verify, expand=asked.expand)
    require_encoder(opened)
    [hits] = index.search(
        [query_source(opened, asked)],
        asked.k,
        box=asked.box,
        verify=verify,
        query_views="whole" if asked.quick else None,
        expand=asked.expand,
    )
    return hits
