"""The sweep itself: every setting of a grid, one image size after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

from tfvlad.config import EncoderConfig
from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, Dataset, Query
from tfvlad.sweep.forecast import Forecast, total
from tfvlad.sweep.limits import Limits
from tfvlad.sweep.meter import Meter
from tfvlad.sweep.needs import Needs, check_space
from tfvlad.sweep.networks import load_networks, select_layers
from tfvlad.sweep.output import check_output, claimed
from tfvlad.sweep.plan import Grid
from tfvlad.sweep.queries import self_retrieval
from tfvlad.sweep.results import Cell, Study
from tfvlad.sweep.size import Failures, SizeSweep
from tfvlad.sweep.task import Task
from tfvlad.sweep.workload import Workload

Failed: TypeAlias = list[tuple[str, str]]  # path and reason of images that could not be used

_COPIES = "queries"  # the folder of altered copies, in the output's


class Sweep:
    """A grid of settings, of a network that is there and has the layers (Ng, Yang and Davis 2015, section 4).

    Attributes:
      layers: those to be studied, in the order of the network.
    """

    def __init__(self, grid: Grid | None = None, config: EncoderConfig | None = None) -> None:
        """Loads the network.

        Args:
          grid: what to try.
          config: what all settings share; its layer, image size, clusters and dim are not read.

        Raises:
          ConfigError: a setting does not exist or does not fit.
          WeightsError: the network's weights cannot be had.
        """
        self._grid, self._config = grid or Grid(), config or EncoderConfig()
        sizes, encodings = self._grid.image_sizes, self._grid.encodings
        self._networks = load_networks(self._config, sizes, "fc" in encodings)
        some, backbone = self._networks[sizes[0]], self._config.backbone
        self.layers = select_layers(some, backbone, self._grid.layers) if self._grid.needs_maps else []

    def run(
        self,
        dataset: Dataset,
        output: str | os.PathLike[str],
        fit_on: Sequence[str] | None = None,
        seed: int = 0,
        on_needs: Callable[[Needs], None] | None = None,
    ) -> tuple[Study, Failed]:
        """Tries every setting.

        Each image passes the network once at each size to be described, and once more where it is among those that the
        codebooks are fitted on. What is finished is kept in `output`: a stopped sweep goes on where it was, and one
        with more layers or dimensions computes only what is new; what is not finished is kept of one image size, and
        dropped where another comes first. Memory does not grow with the number of images: it
        is bounded by a few batches of all layers' outputs, and by the sampled features of one layer. The descriptors
        of the image size at work lie on disk, in `output`.

        Args:
          dataset: queries, database and right answers.
          output: a folder that is empty, of an earlier sweep, or not there yet.
          fit_on: paths of the images that codebooks and whitening are fitted on; None takes the database.
          seed: makes the result reproducible.
          on_needs: is told what the sweep will take, before the first image.

        Returns:
          The study, and (path, reason) of the images that could not be used at one size or more.

        Raises:
          ConfigError: no setting is possible, no image can be used, `output` holds other files than a sweep's, or its
            disk is too small.
          ArtifactError: another sweep is at work in `output`.
        """
        folder = os.fspath(output)
        check_output(folder)
        task = Task(dataset, _to_fit_on(dataset.database, fit_on), self._config, self._grid, seed, folder)
        self._refuse_impossible(len(task.fit_on))
        plan = self._plan(task)
        with claimed(folder):
            return self._work(task, plan, on_needs, proxy=False)

    def run_on_copies(
        self,
        images: list[DatabaseImage],
        copies: int,
        output: str | os.PathLike[str],
        name: str,
        fit_on: Sequence[str] | None = None,
        seed: int = 0,
        on_needs: Callable[[Needs], None] | None = None,
    ) -> tuple[Study, Failed]:
        """Tries every setting on altered copies of images, for want of ground truth; see `self_retrieval`.

        Args:
          images: those to be searched.
          copies: how many of them are copied, at most.
          output: as of `run`; the copies lie in ``queries`` there.
          name: of the study.
          fit_on: as of `run`.
          seed: likewise, and of the copies.
          on_needs: likewise.

        Returns:
          As `run`.

        Raises:
          ConfigError: likewise, and where there is only one image.
          ArtifactError: likewise.
        """
        folder = os.fspath(output)
        if len(images) < 2:
            raise ConfigError("one image alone is found by every setting; give a folder with more")
        fitting = _to_fit_on(images, fit_on)
        self._refuse_impossible(len(fitting))
        with claimed(folder):
            place = os.path.join(folder, _COPIES)
            dataset = self_retrieval(images, copies, place, seed, name, self._config.max_pixels)
            task = Task(dataset, fitting, self._config, self._grid, seed, folder)
            return self._work(task, self._plan(task), on_needs, proxy=True)

    def _refuse_impossible(self, fit_on: int) -> None:
        """Refuses settings of which none is possible with so many images to fit on."""
        reasons = [limits.first_reason() for limits in self._limits(fit_on) if limits.streams]
        if all(reasons):
            raise ConfigError(f"no setting is possible; the first: {reasons[0]}")

    def _limits(self, fit_on: int) -> list[Limits]:
        grid, config = self._grid, self._config
        return [Limits(self._networks[size], size, self.layers, grid, config, fit_on) for size in grid.image_sizes]

    def _plan(self, task: Task) -> tuple[list[Forecast], Needs]:
        """What is to be done at each size, and what it takes; refused where the disk is too small."""
        forecasts = [Forecast(Workload(task, limits)) for limits in self._limits(len(task.fit_on))]
        return forecasts, check_space(task.folder, forecasts)

    def _work(
        self, task: Task, plan: tuple[list[Forecast], Needs], on_needs: Callable[[Needs], None] | None, proxy: bool
    ) -> tuple[Study, Failed]:
        forecasts, needs = plan
        if on_needs is not None:
            on_needs(needs)
        cells: list[Cell] = []
        failures: Failures = {}
        with Meter(total(forecasts)) as meter:
            for forecast in forecasts:
                finished, failed = SizeSweep(forecast, meter).run()
                cells += finished
                failures |= failed
        return self._study(task, cells, failures, proxy), sorted((image.path, why) for image, why in failures.items())

    def _study(self, task: Task, cells: list[Cell], failures: Failures, proxy: bool) -> Study:
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
) -> tuple[Study, Failed]:
    """Tries every setting of a grid: `Sweep` and its `Sweep.run`."""
    return Sweep(grid, config).run(dataset, output, fit_on, seed)


def _to_fit_on(database: Sequence[DatabaseImage], fit_on: Sequence[str] | None) -> list[Query]:
    return [Query(path) for path in ([image.path for image in database] if fit_on is None else fit_on)]
