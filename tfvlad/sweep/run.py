"""The sweep itself: every setting of a grid, one image size after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tfvlad.config import EncoderConfig
from tfvlad.datasets import Dataset, Query
from tfvlad.sweep.networks import load_networks, select_layers
from tfvlad.sweep.plan import Grid
from tfvlad.sweep.results import Cell, Study
from tfvlad.sweep.size import CELLS, Failures, SizeSweep, Work
from tfvlad.writer_lock import sole_writer


def sweep(
    dataset: Dataset,
    output: str | os.PathLike[str],
    grid: Grid | None = None,
    config: EncoderConfig | None = None,
    fit_on: Sequence[str] | None = None,
    seed: int = 0,
    proxy: bool = False,
) -> tuple[Study, list[tuple[str, str]]]:
    """Tries every setting of a grid (Ng, Yang and Davis 2015, section 4).

    Each image passes the network once at each size to be described, and once more where it is among those that the
    codebooks are fitted on. What is finished is kept in `output`: a stopped sweep goes on where it was, and one with
    more layers or dimensions computes only what is new. Memory is bounded by two batches of all layers' outputs, by
    the sampled features of one layer, and by the descriptors that one whitening is fitted on; the descriptors of the
    image size at work lie on disk, in `output`.

    Args:
      dataset: queries, database and right answers.
      output: a folder, made where it is not there; ``cells`` and ``scratch`` in it are the sweep's own.
      grid: what to try.
      config: what all settings share; its layer, image size, clusters and dim are not read.
      fit_on: paths of the images that codebooks and whitening are fitted on; None takes the database.
      seed: makes the result reproducible.
      proxy: see `Study.proxy`.

    Returns:
      The study, and (path, reason) of the images that could not be used at one size or more.

    Raises:
      ConfigError: a setting does not exist or does not fit, or no image can be used.
      WeightsError: the network's weights cannot be had.
      ArtifactError: another sweep is at work in `output`.
    """
    folder = os.fspath(output)
    grid, config = grid or Grid(), config or EncoderConfig()
    fitting = [Query(path) for path in ([image.path for image in dataset.database] if fit_on is None else fit_on)]
    work = Work(dataset, fitting, config, grid, seed, folder)
    networks = load_networks(config, grid.image_sizes, "fc" in grid.encodings)
    some = next(iter(networks.values()))
    layers = select_layers(some, config.backbone, grid.layers) if grid.needs_maps else []
    os.makedirs(os.path.join(folder, CELLS), exist_ok=True)
    cells: list[Cell] = []
    failures: Failures = {}
    with sole_writer(folder):
        for size in grid.image_sizes:
            of_size = SizeSweep(work, networks[size], size, layers)
            cells += of_size.cells()
            failures |= of_size.failures
    positions = {image.id: position for position, image in enumerate(dataset.database)}
    study = Study(
        name=dataset.name,
        measure=dataset.measure,
        protocols=list(dataset.protocols),
        proxy=proxy,
        config=config,
        layers=layers,
        queries=[query.path for query in dataset.queries],
        database=[image.path for image in dataset.database],
        right=[[positions[id_] for id_ in truth["ok"] if id_ in positions] for truth in dataset.ground_truth],
        fit_on=sum(image not in failures for image in fitting),
        cells=sorted(cells, key=lambda cell: cell.setting),
        seed=seed,
    )
    return study, sorted((image.path, reason) for image, reason in failures.items())
