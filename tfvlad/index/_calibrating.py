"""Calibration: what numbers of inliers mean, measured on the index's own images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfvlad.images.views import WHOLE
from tfvlad.index._synced_folders import Folders
from tfvlad.index.catalog import Catalog, Snapshot
from tfvlad.index.ranking import unit_rows
from tfvlad.index.verification import Method
from tfvlad.matching.local_features import LocalFeatures
from tfvlad.matching.verdict import FEWEST_IMAGES, Calibration, calibrate
from tfvlad.matching.verification import Candidate

_IMAGES = 200  # that are compared with each other, at most
_NEIGHBOURS = 20  # of each among them
_TOTAL = "images"  # the key under which the number of images at the time is stored
_GROWTH = 2  # of the number of images, after which it is measured anew


def is_due(snapshot: Snapshot, method: Method) -> bool:
    """Whether there are images enough to measure, and twice as many as when it was measured last."""
    images = len(snapshot.images_with_local_features())
    stored = snapshot.calibrations()
    totals = stored.get(_TOTAL) if isinstance(stored, Mapping) else None
    before = totals.get(method.name, 0) if isinstance(totals, Mapping) else 0
    return images >= FEWEST_IMAGES and (not isinstance(before, int) or images >= _GROWTH * before)


def measure_calibration(catalog: Catalog, index_folder: str, method: Method, seed: int = 0) -> Calibration:
    """Compares some of the index's images with each other, and stores what that tells; the caller is the sole writer.

    Args:
      catalog: of format 2, with local features where the method needs them.
      index_folder: the index's folder.
      method: the way to verify that is calibrated.
      seed: of the choice of images.
    """
    with catalog.read() as snapshot:
        images = snapshot.images_with_local_features() if method.needs_features else snapshot.image_ids()
        chosen = np.sort(np.random.default_rng(seed).choice(images, min(_IMAGES, len(images)), replace=False))
        block = snapshot.view_of_images(chosen, WHOLE.name)
        kept = dict(snapshot.local_features_of(block.images))
        folders = Folders(snapshot.roots(), index_folder, snapshot.path)
        paths = defaultdict[int, str](str)
        for image, _, root, path in snapshot.files_of(block.images):
            paths[image] = paths[image] or folders.full_path(root, path)
    candidates = [
        Candidate(paths[image], [LocalFeatures.from_bytes(kept[image], catalog.path)] if image in kept else [])
        for image in block.images.tolist()
    ]
    vectors = unit_rows(block.vectors, catalog.dim)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    neighbours = np.argsort(-cosines, axis=1, kind="stable")[:, : min(_NEIGHBOURS, max(len(vectors) - 1, 0))]
    calibration = calibrate(method.verifier, candidates, method.prior, neighbours.tolist(), seed)
    with catalog.write() as change:
        stored: Any = change.calibrations()
        stored = dict(stored) if isinstance(stored, Mapping) else {}
        totals = stored.get(_TOTAL)
        totals = dict(totals) if isinstance(totals, Mapping) else {}
        change.put_calibrations(
            {**stored, method.name: calibration.to_json(), _TOTAL: {**totals, method.name: len(images)}}
        )
    return calibration
