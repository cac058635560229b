"""Whether two pictures show the same thing, where, how surely, and why: by their local features.

Descriptors give a shortlist; this package verifies it. A view's activation map enters, and compact `LocalFeatures`
leave, ready to be stored. The local features of a query and of its candidates (or, for SIFT, their files) enter, and a
`Match` for each leaves: how many cells agree under one transform. That number enters, and a verdict leaves.

- `projection` makes 8-bit descriptors of local features; `cells` says where a map's cells are, and which are kept.
- `local_features` is what is kept of a view, and the bytes in which it is stored.
- `verification` is what verifiers have in common, and the verifier by cells; `sift` is the one by OpenCV.
- `registration` lays the pixels of two pictures on each other: is the one a copy of the other?
- `verdict` knows how many cells agree by chance, measured on an index's own images.
- `explanation` is what a match looks like, as data; `drawing` draws it; `shares` are the cells that carry a cosine.

The package may import `tfvlad_kernels`, NumPy, and tfvlad's `encoding`, `images`, `storage`, `config` and `errors`; it
imports TensorFlow and OpenCV only where they are first needed, and never `index`.

The names below are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfvlad.matching.cells import cell_positions, describe_cells, select_cells
    from tfvlad.matching.compression import Projection
    from tfvlad.matching.drawing import draw_matches
    from tfvlad.matching.explanation import Explanation, Pose, box_around, explain, outline, pose
    from tfvlad.matching.local_features import LocalFeatures
    from tfvlad.matching.shares import pooling_shares, vlad_shares
    from tfvlad.matching.sift import SiftVerifier
    from tfvlad.matching.verdict import CELLS_PRIOR, SIFT_PRIOR, Calibration, Verdict, calibrate
    from tfvlad.matching.verification import Candidate, CellVerifier, Match, Query, Verifier

_HOME = {
    "cell_positions": "cells",
    "describe_cells": "cells",
    "select_cells": "cells",
    "draw_matches": "drawing",
    "Explanation": "explanation",
    "Pose": "explanation",
    "box_around": "explanation",
    "explain": "explanation",
    "outline": "explanation",
    "pose": "explanation",
    "LocalFeatures": "local_features",
    "Projection": "compression",
    "pooling_shares": "shares",
    "vlad_shares": "shares",
    "SiftVerifier": "sift",
    "CELLS_PRIOR": "verdict",
    "SIFT_PRIOR": "verdict",
    "Calibration": "verdict",
    "Verdict": "verdict",
    "calibrate": "verdict",
    "Candidate": "verification",
    "CellVerifier": "verification",
    "Match": "verification",
    "Query": "verification",
    "Verifier": "verification",
}

__all__ = [
    "CELLS_PRIOR",
    "SIFT_PRIOR",
    "Calibration",
    "Candidate",
    "CellVerifier",
    "Explanation",
    "LocalFeatures",
    "Match",
    "Pose",
    "Projection",
    "Query",
    "SiftVerifier",
    "Verdict",
    "Verifier",
    "box_around",
    "calibrate",
    "cell_positions",
    "describe_cells",
    "draw_matches",
    "explain",
    "outline",
    "pooling_shares",
    "pose",
    "select_cells",
    "vlad_shares",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
