"""The study of layers and scales (Ng, Yang and Davis 2015, section 4): which settings find a user's own images best.

The names below are loaded when first used: `sweep` imports TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfvlad.sweep.needs import Needs
    from tfvlad.sweep.plan import Grid
    from tfvlad.sweep.queries import self_retrieval
    from tfvlad.sweep.results import Cell, Quality, Setting, Study
    from tfvlad.sweep.run import Sweep, sweep

__all__ = ["Cell", "Grid", "Needs", "Quality", "Setting", "Study", "Sweep", "self_retrieval", "sweep"]

_HOME = {"Grid": "plan", "Needs": "needs", "Sweep": "run", "self_retrieval": "queries", "sweep": "run"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'results')}"), name)
