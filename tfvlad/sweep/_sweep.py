"""A whole sweep: every setting of a grid, one image size after the other."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError, Failure
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.images.files import content_key
from tfvlad.sweep._altered_copies import self_retrieval
from tfvlad.sweep._finished_cells import Failures
from tfvlad.sweep._forecast import Needs, ProgressBar, check_space, total_seconds
from tfvlad.sweep._multi_layer_network import load_networks, select_layers
from tfvlad.sweep._one_size import SizeSweep
from tfvlad.sweep._plan import SizePlan, SweepTask
from tfvlad.sweep._searching import SearchStage
from tfvlad.sweep.choice import ranked
from tfvlad.sweep.grid import Grid, SearchGrid
from tfvlad.sweep.output_folder import COPIES, check_output, claimed
from tfvlad.sweep.study import Cell, Study


class Sweep:
    """A grid of settings to try on a network that is loaded and has the layers (Ng, Yang and Davis 2015, section 4).

    Attributes:
      layers: the layers to study, in the order of the network.

    Example:
      >>> sweep = Sweep(Grid(layers=("conv4_*", "conv5_*")))  # doctest: +SKIP
      >>> study, failures = sweep.run(tfvlad.datasets.load_dataset("holidays", "holidays/"), "out")  # doctest: +SKIP
    """

    def __init__(
        self, grid: Grid | None = None, config: EncoderConfig | None = None, search: SearchGrid | None = None
    ) -> None:
        """Loads the network.

        Args:
          grid: the settings to try.
          config: the settings that all cells share; its layer, image size, clusters and dim are not read.
          search: the ways to search to try with the best settings; None tries none.

        Raises:
          ConfigError: a setting does not exist, or settings do not fit together.
          WeightsError: the network's weights cannot be loaded.
        """
        self._grid, self._config, self._search = grid or Grid(), config or EncoderConfig(), search
        sizes, encodings = self._grid.image_sizes, self._grid.encodings
        self._networks = load_networks(self._config, sizes, "fc" in encodings)
        any_size, backbone = self._networks[sizes[0]], self._config.backbone
        self.layers = select_layers(any_size, backbone, self._grid.layers) if self._grid.needs_maps else []

    def run(
        self,
        dataset: Dataset,
        output: str | os.PathLike[str],
        fit_on: Sequence[str] | None = None,
        seed: int = 0,
        on_needs: Callable[[Needs], None] | None = None,
    ) -> tuple[Study, list[Failure]]:
        """Tries every setting on a data set.

        Each image passes the network once at each size, and once more if it is among those that the codebooks are
        fitted on. Finished cells are kept in `output`: a sweep that was stopped goes on where it was, and one with more
        layers or dimensions computes only what is new. Unfinished work is kept for one image size, and deleted when
        another size is begun first. The descriptors of the current image size lie on disk, in `output`. Memory does not
        grow with the number of images: a few batches of all layers' outputs bound it, and the sampled local features
        of one layer.

        Where ways to search are to be tried, an index is made with the best settings afterwards, one after the other,
        and deleted when it has been searched in every way.

        Args:
          dataset: queries, database and right answers.
          output: a folder that is empty, of an earlier sweep, or does not exist yet.
          fit_on: paths of the images that codebooks and whitening are fitted on; None means the database.
          seed: makes the result reproducible.
          on_needs: called before the first image with what the sweep will take.

        Returns:
          The study, and the images that could not be used at one size or more.

        Raises:
          ConfigError: no setting is possible, no image can be used, `output` holds other files than a sweep's, or its
            disk is too small.
          ArtifactError: another sweep is at work in `output`.
        """
        folder = os.fspath(output)
        check_output(folder)
        task = SweepTask(dataset, _images_to_fit_on(dataset.database, fit_on), self._config, self._grid, seed, folder)
        plans = self._plans(len(task.fit_on))
        sizes, needs = self._prepare(task, plans)
        with claimed(folder):
            return self._try_all(task, sizes, needs, on_needs, proxy=False)

    def run_on_copies(
        self,
        images: list[DatabaseImage],
        copies: int,
        output: str | os.PathLike[str],
        name: str,
        fit_on: Sequence[str] | None = None,
        seed: int = 0,
        on_needs: Callable[[Needs], None] | None = None,
    ) -> tuple[Study, list[Failure]]:
        """Tries every setting without ground truth: altered copies of images are to find their originals.

        See `self_retrieval` for what that tells.

        Args:
          images: the images to be searched.
          copies: how many of them are copied, at most.
          output: as for `run`; the copies are written to its sub-folder ``queries``.
          name: of the study.
          fit_on: as for `run`.
          seed: as for `run`; it also chooses and alters the copies.
          on_needs: as for `run`.

        Returns:
          As `run` does.

        Raises:
          ConfigError: as `run` does, and if there is only one image.
          ArtifactError: as `run` does.
        """
        folder = os.fspath(output)
        if len(images) < 2:
            raise ConfigError("one image alone is found by every setting; give a folder with more")
        to_fit_on = _images_to_fit_on(images, fit_on)
        plans = self._plans(len(to_fit_on))
        with claimed(folder):
            place = os.path.join(folder, COPIES)
            dataset = self_retrieval(images, copies, place, seed, name, self._config.max_pixels)
            task = SweepTask(dataset, to_fit_on, self._config, self._grid, seed, folder)
            sizes, needs = self._prepare(task, plans)
            return self._try_all(task, sizes, needs, on_needs, proxy=True)

    def _plans(self, fit_on: int) -> list[SizePlan]:
        """The settings at each size; refuses them if none is possible with so many images to fit on."""
        grid, config = self._grid, self._config
        plans = [SizePlan(self._networks[size], size, self.layers, grid, config, fit_on) for size in grid.image_sizes]
        reasons = [plan.why_none() for plan in plans if plan.kinds]
        if all(reasons):
            raise ConfigError(f"no setting is possible; the first: {reasons[0]}")
        return plans

    def _prepare(self, task: SweepTask, plans: list[SizePlan]) -> tuple[list[SizeSweep], Needs]:
        """Forecasts the work at each size; refuses a disk that is too small for it."""
        sizes = [SizeSweep(task, plan) for plan in plans]
        return sizes, check_space(task.folder, [size.forecast for size in sizes])

    def _try_all(
        self,
        task: SweepTask,
        sizes: list[SizeSweep],
        needs: Needs,
        on_needs: Callable[[Needs], None] | None,
        proxy: bool,
    ) -> tuple[Study, list[Failure]]:
        if on_needs is not None:
            on_needs(needs)
        cells: list[Cell] = []
        failures: Failures = {}
        with ProgressBar(total_seconds(size.forecast for size in sizes)) as bar:
            for size in sizes:
                finished, failed = size.run(bar)
                cells += finished
                failures |= failed
        study = self._study(task, cells, failures, proxy)
        if self._search is not None:
            key_of = {size.image_size: size.key for size in sizes}
            best = [cell.setting for cell in ranked(study)[: self._search.settings]]
            found = SearchStage(task, self._search).run([(one, key_of[one.image_size](one)) for one in best])
            study = dataclasses.replace(study, searches=found)
        return study, sorted(Failure(image.path, why) for image, why in failures.items())

    def _study(self, task: SweepTask, cells: list[Cell], failures: Failures, proxy: bool) -> Study:
        dataset = task.dataset
        positions = {image.id: position for position, image in enumerate(dataset.database)}
        return Study(
            name=dataset.name,
            measure=dataset.measure,
            protocols=list(dataset.protocols),
            proxy=proxy,
            config=self._config,
            layers=self.layers,
            queries=[query.path for query in dataset.queries],
            database=[image.path for image in dataset.database],
            right=[[positions[id_] for id_ in truth["ok"] if id_ in positions] for truth in dataset.ground_truth],
            fit_on=sum(image not in failures for image in task.fit_on),
            cells=sorted(cells, key=lambda cell: cell.setting),
            seed=task.seed,
        )


def sweep(
    dataset: Dataset,
    output: str | os.PathLike[str],
    grid: Grid | None = None,
    config: EncoderConfig | None = None,
    fit_on: Sequence[str] | None = None,
    seed: int = 0,
    search: SearchGrid | None = None,
) -> tuple[Study, list[Failure]]:
    """Tries every setting of a grid on a data set: shorthand for `Sweep` and its method `run`.

    Example:
      >>> study, failures = sweep(dataset, "out", Grid(image_sizes=(448,)))  # doctest: +SKIP
    """
    return Sweep(grid, config, search).run(dataset, output, fit_on, seed)


def _images_to_fit_on(database: Sequence[DatabaseImage], fit_on: Sequence[str] | None) -> list[Query]:
    """The images to fit on, in the order in which `tfvlad.Encoder.fit` draws its samples: by content."""
    paths = [image.path for image in database] if fit_on is None else fit_on
    return [Query(path) for path in sorted(paths, key=content_key)]
