"""Names for what a sweep computes, made of everything that shapes it: what has the same name need not be done again.

The libraries' versions are part of it, as rankings may change with them. The processor is not, so that a sweep may go
on elsewhere: it decides the milliseconds alone, and each cell says which it was.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tfvlad.config import EncoderConfig
from tfvlad.evaluation.datasets import Dataset, Query
from tfvlad.images import loading as images
from tfvlad.networks.machine import libraries
from tfvlad.sweep.cells import digest
from tfvlad.sweep.networks import Network
from tfvlad.sweep.plan import Stream

_VERSION = 4  # raised whenever the same settings give other cells


class Keys:
    """The names of everything at one image size.

    Attributes:
      size: names what all settings at this size share.
    """

    def __init__(
        self,
        dataset: Dataset,
        fit_on: Sequence[Query],
        config: EncoderConfig,
        network: Network,
        image_size: int,
        seed: int,
        streams: Sequence[Stream],
    ) -> None:
        """Takes what shapes the cells; of the descriptors of the whole run only what shapes each other's."""
        self._config = config
        self._network = network
        self._digests: dict[str, str] = {}
        self._shared = digest(
            [
                [_VERSION, libraries(), images.VERSION, image_size, seed, network.preprocessing],
                [config.precision, config.resize, config.max_pixels, config.codebook_samples, config.whitening_samples],
                [file_stamp(query) for query in fit_on],
                [[image.id, *file_stamp(Query(image.path))] for image in dataset.database],
                [file_stamp(query) for query in dataset.queries],
                [dataset.measure, dataset.protocols],
                _company(streams, config, len(fit_on)),
            ]
        )
        self.size = digest([self._shared, config.intra_norm, config.power, network.digest([*network.outputs])])

    def cell(self, stream: Stream, dim: int) -> str:
        """The name of a cell."""
        if stream.layer not in self._digests:
            self._digests[stream.layer] = self._network.digest([stream.layer])
        vlad = [self._config.intra_norm, self._config.power] if stream.encoding == "vlad" else []
        return digest([self._shared, stream, self._digests[stream.layer], vlad, dim])


def _company(streams: Sequence[Stream], config: EncoderConfig, fit_on: int) -> list[Any]:
    """What a cell owes to the others of its run: which images it is about."""
    # An image that is too narrow for one layer, or overflows in one, is left out of all.
    alike = config.resize == "stretch" and config.precision == "float32"
    layers = [] if alike else sorted({stream.layer for stream in streams})
    # Those that cannot be read are no choice for the whitening where a pass for codebooks came before.
    chosen = fit_on > config.whitening_samples and any(stream.encoding == "vlad" for stream in streams)
    return [layers, chosen]


def file_stamp(image: Query) -> list[Any]:
    """An image file as it is now, as JSON: an edited one is another."""
    try:
        status = os.stat(image.path)
    except OSError:
        return [image.path, None]
    return [os.path.realpath(image.path), image.box, status.st_size, status.st_mtime_ns]
