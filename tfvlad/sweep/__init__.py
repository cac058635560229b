"""Studies which layer, image size, encoding and number of dimensions find a user's own images best.

The study follows Ng, Yang and Davis 2015, section 4. In go a `Grid` of settings to try and a data set with right
answers (or plain images, of which altered copies then serve as queries). Out comes a `Study`: for each setting its
quality on every query, its cost, and its first hits. A `SearchGrid` of ways to search may be tried with the best
settings. Finished results are kept in an output folder, so that a sweep that was stopped goes on where it was.

From top to bottom: `Sweep` (in ``_sweep``) goes through the image sizes; ``_one_size`` does the work at one of them,
and ``_searching`` tries the ways to search. ``_plan`` says what there is to do and ``_forecast`` how long it takes.
``_keys`` and ``_finished_cells`` know what is done already; ``_unfinished_work`` keeps what is begun. ``study`` holds
the results; ``choice``, ``findings`` and ``tables``, and for the ways to search ``search_choice`` and
``search_tables``, read them. These need no TensorFlow.

This package may import `tfvlad.evaluation`, `tfvlad.index`, `tfvlad.encoding`, `tfvlad.networks`, `tfvlad.images` and
`tfvlad.storage`. The names below are loaded when they are first used, as `sweep` imports TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfvlad.sweep._altered_copies import self_retrieval
    from tfvlad.sweep._forecast import Needs
    from tfvlad.sweep._sweep import Sweep, sweep
    from tfvlad.sweep.grid import Grid, SearchGrid, SearchSetting, Setting
    from tfvlad.sweep.study import Cell, Quality, SearchCell, Study

__all__ = [
    "Cell",
    "Grid",
    "Needs",
    "Quality",
    "SearchCell",
    "SearchGrid",
    "SearchSetting",
    "Setting",
    "Study",
    "Sweep",
    "self_retrieval",
    "sweep",
]

_MODULES = {
    "Cell": "study",
    "Grid": "grid",
    "Needs": "_forecast",
    "Quality": "study",
    "SearchCell": "study",
    "SearchGrid": "grid",
    "SearchSetting": "grid",
    "Setting": "grid",
    "Study": "study",
    "Sweep": "_sweep",
    "self_retrieval": "_altered_copies",
    "sweep": "_sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
