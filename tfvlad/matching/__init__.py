"""Whether two pictures show the same thing, where, how surely, and why: by their local features.

Descriptors give a shortlist; this package verifies it. Activation maps enter `cells` and leave as `LocalFeatures`,
compact and ready to be stored; the local features of a query and of its candidates (or, for SIFT, their files) enter a
`Verifier` and leave as `Match`es: how many cells agree under one transform, and which. `Calibration` turns that into
a verdict, and `explanation` into what a person can look at.

The package may import `tfvlad_kernels`, NumPy, and tfvlad's `encoding`, `images`, `storage`, `config` and `errors`; it
imports TensorFlow and OpenCV only where they are first needed, and never `index`.

The names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfvlad.matching.cells import cell_positions, describe_cells, select_cells
    from tfvlad.matching.local_features import LocalFeatures
    from tfvlad.matching.projection import Projection

_HOME = {
    "LocalFeatures": "local_features",
    "Projection": "projection",
    "cell_positions": "cells",
    "describe_cells": "cells",
    "select_cells": "cells",
}

__all__ = ["LocalFeatures", "Projection", "cell_positions", "describe_cells", "select_cells"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
