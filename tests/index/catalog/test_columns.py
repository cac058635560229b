"""Columns answer from memory what the catalog's file would answer."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.catalogs import put_images
from helpers.fake_encoder import unit_vectors

from tfvlad.config import IndexConfig
from tfvlad.errors import ArtifactError
from tfvlad.index._graph_cache import GraphCache
from tfvlad.index.catalog import Catalog, Columns
from tfvlad.index.graph_backends import installed_backend

DIM = 8


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.create(str(tmp_path), "abc", DIM, IndexConfig())
    put_images(opened, np.arange(30) // 2, unit_vectors(30, DIM))
    yield opened
    opened.close()


def check(catalog: Catalog, columns: Columns) -> None:
    """Compares what columns say with what the file says, of descriptors that are there and others."""
    asked = np.arange(-1, 60).reshape(1, -1)
    with catalog.read() as snapshot:
        there = np.isin(asked, snapshot.descriptor_ids())
        images, hubness = snapshot.images_of(asked), snapshot.hubness_of(asked)
        snapshot.fill(columns)
        assert np.array_equal(snapshot.images_of(asked), images)
        assert np.array_equal(snapshot.hubness_of(asked)[there], hubness[there])
        assert snapshot.images_of(asked).shape == asked.shape
        assert snapshot.hubness_of(asked).dtype == np.float32


def test_they_follow_the_catalog(catalog: Catalog) -> None:
    columns = Columns()
    check(catalog, columns)
    with catalog.write() as change:
        change.put_hubness({number: number / 100 for number in range(1, 25)}, 30)  # not of all
    check(catalog, columns)
    with catalog.write() as change:
        change.remove_files(np.array([1, 5, 15]))
    check(catalog, columns)
    put_images(catalog, np.arange(20, 28), unit_vectors(28, DIM))
    check(catalog, columns)
    with catalog.write() as change:
        change.remove_files(np.array([2]))
        change.forget_removals(until=change.state())  # so that they cannot follow
    check(catalog, columns)
    with catalog.write() as change:
        change.remove_files(np.arange(1, 40))
    check(catalog, columns)
    assert not len(columns.descriptors)


def test_the_graphs_snapshot_answers_from_memory(catalog: Catalog) -> None:
    cache = GraphCache(catalog, installed_backend())
    for added in (0, 3):
        put_images(catalog, 50 + np.arange(added), unit_vectors(added, DIM))
        for _ in range(2):
            with cache.current() as (graph, snapshot):
                assert snapshot.columns is not None
                assert len(snapshot.columns.descriptors) == len(graph) == 30 + added
    with catalog.write() as change:
        change.put_hubness({1: 0.5}, 30)
    with cache.current() as (_, snapshot):
        assert snapshot.hubness_of(np.array([1])) == 0.5


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("INSERT INTO hubness VALUES (1, 'text')", "hubness that is no number"),
        ("UPDATE descriptors SET image = x'00' WHERE id = 3", "descriptor that is of no image"),
    ],
)
def test_damage_is_told(catalog: Catalog, damage: str, message: str) -> None:
    with contextlib.closing(sqlite3.connect(catalog.path)) as connection:  # which looks at no foreign keys
        connection.execute(damage)
        connection.commit()
    with pytest.raises(ArtifactError, match=message):
        check(catalog, Columns())
