"""The second stage of a sweep: indexes of the best settings are searched in every way, and nothing is done twice."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfvlad
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.index.index import Index
from tfvlad.sweep import Grid, SearchGrid, Study, _searching, sweep
from tfvlad.sweep._stored_cells import cell_to_json
from tfvlad.sweep.choice import ranked

GRID = Grid(("*",), (48,), (4,), (4,), ("vlad",))
WAYS = SearchGrid(views=("whole", "scales:2"), query_views=("whole",), verify=(0, 4))


@pytest.fixture(scope="module")
def whole(dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return sweep(dataset, tmp_path_factory.mktemp("whole"), GRID, config, search=WAYS)[0]


def figures(study: Study) -> list[Any]:
    """All that does not depend on how fast the machine was."""
    return [cell_to_json(dataclasses.replace(cell, ms_per_query=0)) for cell in study.searches]


def test_every_way_is_tried_with_the_best_setting(whole: Study) -> None:
    assert [(cell.search.views, cell.search.verify, cell.search.verifier) for cell in whole.searches] == [
        ("whole", 0, ""), ("whole", 4, "cells"), ("scales:2", 0, ""), ("scales:2", 4, "cells"),
    ]  # fmt: skip
    best = ranked(whole)[0]
    assert {cell.setting for cell in whole.searches} == {best.setting}
    plain, verified, views, _ = whole.searches
    np.testing.assert_allclose(plain.qualities["all"].values, best.qualities["all"].values)
    np.testing.assert_array_equal(plain.qualities["all"].first_ranks, best.qualities["all"].first_ranks)
    assert (plain.bytes_per_image, views.bytes_per_image) == (16, 32)  # four numbers; of two views
    assert verified.bytes_per_image > 16 + 64
    assert all(cell.ms_per_query > 0 and cell.processor for cell in whole.searches)


def test_a_stopped_sweep_searches_no_more_than_one_way_again(
    whole: Study, dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    search, fit = Index.search, _searching.Encoder.fit
    searched, fitted = [0], [0]
    stop_at: list[int | None] = [30]

    def counted(*arguments: Any, **others: Any) -> Any:
        if searched[0] == stop_at[0]:
            raise KeyboardInterrupt
        searched[0] += 1
        return search(*arguments, **others)

    def fitting(*arguments: Any) -> Any:
        fitted[0] += 1
        return fit(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Index, "search", counted)
        patch.setattr(_searching.Encoder, "fit", fitting)
        with pytest.raises(KeyboardInterrupt):
            sweep(dataset, tmp_path, GRID, config, search=WAYS)
        assert (tmp_path / "search").exists()
        stop_at[0] = None
        study, _ = sweep(dataset, tmp_path, GRID, config, search=WAYS)
        once = 12 + 1  # searches for one way: the first query twice
        assert 4 * once <= searched[0] <= 5 * once
        assert fitted == [1]
        assert not (tmp_path / "search").exists()
        assert figures(study) == figures(whole)
        # What is finished is not searched again, and a new way alone is searched.
        before = searched[0]
        assert figures(sweep(dataset, tmp_path, GRID, config, search=WAYS)[0]) == figures(whole)
        assert (searched[0], fitted) == (before, [1])
        more = dataclasses.replace(WAYS, views=("whole",), expand=(0, 2), verify=(0,))
        assert len(sweep(dataset, tmp_path, GRID, config, search=more)[0].searches) == 2
        assert searched[0] == before + once


def test_a_verifier_whose_library_is_missing_is_passed_over(
    dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path
) -> None:
    ways = SearchGrid(query_views=("whole",), verify=(0, 3), verifiers=("sift",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)
        plain, sift = sweep(dataset, tmp_path, GRID, config, search=ways)[0].searches
    assert plain.qualities
    assert not plain.impossible
    assert not sift.qualities
    assert "tfvlad[sift]" in sift.impossible
    assert len(list((tmp_path / "cells").glob("search-*.json"))) == 1  # it may be installed the next time


def test_several_settings_have_an_index_each(dataset: Dataset, config: tfvlad.EncoderConfig, tmp_path: Path) -> None:
    """Two settings, one after the other, each with an index of its own; a broken image is in neither."""
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    own = dataclasses.replace(
        dataset,
        database=[DatabaseImage("broken.jpg", str(broken), 99), *dataset.database],
        queries=[*dataset.queries, Query(str(broken))],
        protocols={"all": [*dataset.ground_truth, {"ok": [0], "junk": []}]},
    )
    fit_on = [image.path for image in dataset.database]
    grid = dataclasses.replace(GRID, encodings=("mean",), dims=(0,))
    ways = SearchGrid(settings=2, query_views=("whole",), verify=(0,))
    study, failures = sweep(own, tmp_path / "out", grid, config, fit_on, search=ways)
    assert {failure.path for failure in failures} == {str(broken)}
    assert [cell.setting for cell in study.searches] == [cell.setting for cell in ranked(study)]
    for search, cell in zip(study.searches, ranked(study), strict=True):
        np.testing.assert_allclose(search.qualities["all"].values, cell.qualities["all"].values)
        assert math.isnan(search.qualities["all"].values[-1])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"verify": ()}, "verify must name one at least"),
        ({"verify": (-1,)}, "verify must be 0 or more, got -1"),
        ({"expand": (2, 2)}, "expand must name each once, got 2 again"),
        ({"verifiers": ("orb",)}, "verifiers must be of cells, sift, got 'orb'"),
        ({"views": ("mirrors:2",)}, "mirrors"),
        ({"settings": 0}, "search_settings must be 1 or more, got 0"),
    ],
)
def test_a_way_that_does_not_exist_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(tfvlad.ConfigError, match=said):
        SearchGrid(**wrong)
