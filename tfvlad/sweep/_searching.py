"""The second stage of a sweep: an index is made with each of the best settings, and searched in every way of a grid."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfvlad.config import LOCAL_DIMENSIONS, LOCAL_FEATURES, QUERY_CELLS, QUERY_SCALE, EncoderConfig
from tfvlad.encoding.encoder import Encoder
from tfvlad.encoding.throughput import processor
from tfvlad.errors import ConfigError, ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.evaluation.queries_and_results import encode_queries, query_source
from tfvlad.images.listing import IMAGE_SUFFIXES
from tfvlad.index.catalog import Catalog
from tfvlad.index.index import Hit, Index
from tfvlad.progress import Progress
from tfvlad.sweep._judging import quality_of
from tfvlad.sweep._keys import digest
from tfvlad.sweep._plan import SweepTask
from tfvlad.sweep._stored_cells import Shape, read_search_cell, store_cell
from tfvlad.sweep.grid import SearchGrid, SearchSetting, Setting, search_settings
from tfvlad.sweep.output_folder import CELLS, SEARCHED
from tfvlad.sweep.study import Quality, SearchCell

Ranking = npt.NDArray[Any]  # positions in the database, best first, in the smallest type that holds them

_VERSION = 1  # raised whenever the same search gives another cell
_HITS = 100  # of a search; more where more are verified. The rest of a ranking is that of the descriptors
_AT_A_TIME = 64  # queries that are ranked together
_SAMPLE = 1000  # images whose local features are weighed


class SearchStage:
    """Searches indexes of a sweep's images with its queries; finished cells and an unfinished index are kept.

    An index is kept until all its cells are finished, so that a sweep that was stopped repeats one search at most, or
    the fitting of an encoder. It holds links to the images of the database, which may lie anywhere.
    """

    def __init__(self, task: SweepTask, grid: SearchGrid) -> None:
        """Checks which ways to search are possible.

        Args:
          task: what the sweep is given.
          grid: the ways to search.
        """
        self._task = task
        self._shape = Shape.of(task.dataset)
        self._ways = search_settings(grid)
        self._why_not = {verifier: _why_not(verifier) for verifier in {way.verifier for way in self._ways}}

    def run(self, best: Sequence[tuple[Setting, str]]) -> list[SearchCell]:
        """Searches in every way.

        Args:
          best: settings of encoders, and the names of their cells; see `tfvlad.sweep._keys`.

        Returns:
          A cell for each setting and each way to search, in this order.
        """
        cells = [cell for setting, key in best for cell in self._of_setting(setting, key)]
        shutil.rmtree(os.path.join(self._task.folder, SEARCHED), ignore_errors=True)
        return cells

    def _of_setting(self, setting: Setting, key: str) -> list[SearchCell]:
        found: dict[SearchSetting, SearchCell] = {}
        for way in self._ways:
            if why := self._why_not[way.verifier]:
                # It is not stored, as it may be possible the next time.
                found[way] = SearchCell(setting, way, {}, 0.0, 0.0, why)
            elif (stored := read_search_cell(self._path(key, way), setting, way, self._shape)) is not None:
                found[way] = stored
        missing = [way for way in self._ways if way not in found]
        if missing:
            folder = self._make_room(key)
            with self._index(folder, setting) as index:
                for views in dict.fromkeys(way.views for way in missing):
                    ways = [way for way in missing if way.views == views]
                    # Encodes what is missing of the views, and local features where any of these ways compares them.
                    cells = any(way.verifier == "cells" for way in ways)
                    index.sync(_images(folder), views=views, local_features=LOCAL_FEATURES if cells else 0)
                    size = _bytes_per_image(folder)
                    for way, cell in self._search(index, _index_in(folder), setting, ways, *size):
                        store_cell(self._path(key, way), cell)
                        found[way] = cell
        return [found[way] for way in self._ways]

    def _make_room(self, key: str) -> str:
        """Makes the folder for the index of a setting with links to the images, and deletes those of other settings."""
        parent = os.path.join(self._task.folder, SEARCHED)
        os.makedirs(parent, exist_ok=True)
        for other in os.listdir(parent):
            if other != key:
                shutil.rmtree(os.path.join(parent, other))
        folder = os.path.join(parent, key)
        images = _images(folder)
        shutil.rmtree(images, ignore_errors=True)
        os.makedirs(images)
        for position, image in enumerate(self._task.dataset.database):
            suffix = os.path.splitext(image.path)[1].lower()
            name = f"{position}{suffix if suffix in IMAGE_SUFFIXES else '.jpg'}"
            os.symlink(os.path.abspath(image.path), os.path.join(images, name))
        return folder

    def _index(self, folder: str, setting: Setting) -> Index:
        """Makes the index of a setting, or opens that of a stopped sweep."""
        path = _index_in(folder)
        if os.path.isdir(path):
            return Index.open(path)
        images = [image.path for image in self._task.fit_on]
        # Which images cannot be used is known, and told, since the descriptors were judged.
        encoder = Encoder.fit(images, encoder_config(self._task.config, setting), self._task.seed, lambda *_: None)
        return Index.create(path, encoder, local_features=0)

    def _search(
        self,
        index: Index,
        index_folder: str,
        setting: Setting,
        ways: Sequence[SearchSetting],
        descriptors: float,
        features: float,
    ) -> Iterator[tuple[SearchSetting, SearchCell]]:
        """Searches an index that has the views that all of these ways ask for.

        Args:
          index: the index.
          index_folder: its folder.
          setting: of its encoder.
          ways: the ways to search.
          descriptors: bytes per image.
          features: bytes per image of the local features.
        """
        positions = {id_: int(os.path.splitext(name)[0]) for id_, name, _ in index.images()}
        usable, complete = _rank_by_descriptors(index, self._task.dataset.queries, positions)
        with Progress(None, "Searches", len(ways) * len(usable), " queries", leave=False) as bar:
            for way in ways:
                try:
                    # Opened anew, so that no way finds what an earlier one has left in memory.
                    with Index.open(index_folder, index.encoder) as fresh:
                        found, milliseconds = self._search_all(fresh, way, usable, bar)
                except ConfigError as error:  # such as a verifier that the encoder cannot serve
                    yield way, SearchCell(setting, way, {}, 0.0, 0.0, str(error))
                    continue
                rankings = {
                    query: _completed([positions[hit.id] for hit in hits], complete[query])
                    for query, hits in found.items()
                }
                size = descriptors + (features if way.verifier == "cells" else 0.0)
                yield (
                    way,
                    SearchCell(setting, way, self._judge(rankings), size, milliseconds, processor=processor()),
                )

    def _search_all(
        self, index: Index, way: SearchSetting, usable: Sequence[int], bar: Progress
    ) -> tuple[dict[int, list[Hit]], float]:
        """Searches for one query after the other, as a user does.

        Returns:
          The hits by the position of the query, for the queries that can be searched for in this way, and the median
          milliseconds.
        """
        found: dict[int, list[Hit]] = {}
        times: list[float] = []
        for position in usable:
            query = self._task.dataset.queries[position]
            with contextlib.suppress(ImageError):
                # TensorFlow and Numba compile at the first search, which is not counted.
                for _ in range(1 if times else 2):
                    start = time.perf_counter()
                    source = query_source(query, self._task.config.max_pixels)
                    [found[position]] = index.search(
                        source,
                        max(_HITS, way.verify),
                        verify=way.verify,
                        query_views=way.query_views,
                        verifier=way.verifier or "cells",
                        expand=way.expand,
                    )
                times.append((time.perf_counter() - start) * 1e3)
            bar.update()
        return found, float(np.median(times)) if times else 0.0

    def _judge(self, rankings: dict[int, Ranking]) -> dict[str, Quality]:
        """Judges rankings of positions in the database, by the position of the query."""
        dataset = self._task.dataset
        queries = sorted(rankings)
        ids = np.array([image.id for image in dataset.database], np.int64)
        qualities = {}
        judged = dataset.select(queries).judge([ids[rankings[query]] for query in queries], (1,))
        for protocol, judgement in judged.items():
            values = np.full(len(dataset.queries), np.nan)
            first_ranks = np.zeros(len(dataset.queries), np.int64)
            values[queries] = judgement.values
            ranks = judgement.evaluation.first_ranks
            first_ranks[queries] = np.where(np.isfinite(ranks), ranks, 0)
            qualities[protocol] = quality_of(values, first_ranks)
        return qualities

    def _path(self, key: str, way: SearchSetting) -> str:
        """The file of a finished cell, under a name made of everything that shapes it."""
        defaults = [LOCAL_FEATURES, LOCAL_DIMENSIONS, QUERY_CELLS, QUERY_SCALE]
        name = digest([_VERSION, key, dataclasses.asdict(way), defaults])
        return os.path.join(self._task.folder, CELLS, f"search-{name}.json")


def encoder_config(shared: EncoderConfig, setting: Setting) -> EncoderConfig:
    """The configuration of the encoder of a setting.

    Args:
      shared: what all settings of the sweep share.
      setting: the setting.
    """
    return dataclasses.replace(
        shared,
        layer=setting.layer or None,
        image_size=setting.image_size,
        encoding=setting.encoding,
        clusters=setting.clusters or shared.clusters,
        dim=setting.dim or None,
    )


def _index_in(folder: str) -> str:
    return os.path.join(folder, "index")


def _images(folder: str) -> str:
    return os.path.join(folder, "images")


def _why_not(verifier: str) -> str:
    """Says why a verifier cannot be used; empty where it can, or where none is asked for."""
    if verifier == "sift":
        from tfvlad.matching.sift import SiftVerifier  # imports OpenCV

        try:
            SiftVerifier()
        except ConfigError as error:
            return str(error)
    return ""


def _rank_by_descriptors(
    index: Index, queries: Sequence[Query], positions: Mapping[int, int]
) -> tuple[list[int], dict[int, Ranking]]:
    """Ranks all images of an index by the descriptors of whole pictures.

    Args:
      index: the index.
      queries: the queries.
      positions: id of a file in the index -> its position in the database.

    Returns:
      The positions of the queries that can be used, and the ranking of each of them.
    """
    encoded = encode_queries(index.encoder, queries)
    kind = np.min_scalar_type(max(positions.values(), default=0))
    rankings: dict[int, Ranking] = {}
    for start in range(0, len(encoded.positions), _AT_A_TIME):
        some = slice(start, start + _AT_A_TIME)
        found = index.search_descriptors(encoded.descriptors[some], len(positions), exact=True)
        for query, hits in zip(encoded.positions[some], found, strict=True):
            rankings[query] = np.array([positions[hit.id] for hit in hits], kind)
    return encoded.positions, rankings


def _completed(first: Sequence[int], complete: Ranking) -> Ranking:
    """Appends to the first positions of a ranking all others, in the order of the complete ranking."""
    return np.concatenate([np.array(first, complete.dtype), complete[~np.isin(complete, first)]])


def _bytes_per_image(folder: str) -> tuple[float, float]:
    """The bytes of an image's descriptors, and of its local features, on average over the index in a folder."""
    catalog = Catalog(_index_in(folder))
    try:
        with catalog.read() as snapshot:
            images = snapshot.image_ids()
            descriptors = 4 * catalog.dim * snapshot.count_descriptors()
            some = snapshot.images_with_local_features()[:_SAMPLE]
            sizes = [len(data) for _, data in snapshot.local_features_of(some)]
    finally:
        catalog.close()
    return descriptors / max(1, len(images)), float(np.mean(sizes)) if sizes else 0.0
