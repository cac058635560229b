"""Fitting an encoder, for the commands that do: what is told of it, and how images are chosen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from absl import flags

import tfvlad
from tfvlad.commands._printing import note
from tfvlad.errors import Failure
from tfvlad.images.listing import PassedOver, image_paths
from tfvlad.networks.requirements import check_network
from tfvlad_flags import encoder as encoder_flags


def images_of(folders: Iterable[str], passed_over: PassedOver | None = None) -> list[str]:
    """The images of folders; one counts once, whatever folders and links lead to it.

    Args:
      folders: the folders.
      passed_over: see `tfvlad.images.listing.list_images`.

    Raises:
      ConfigError: a folder is none, or holds no image.
    """
    paths = (path for folder in folders for path in image_paths(folder, passed_over))
    return list({os.path.realpath(path): path for path in paths}.values())


def fit(values: flags.FlagValues, files: Sequence[str]) -> tuple[tfvlad.Encoder, list[Failure]]:
    """Fits an encoder as the flags say, and notes on standard error where there are too few images.

    Returns:
      The encoder, and the images that could not be used.

    Raises:
      ConfigError: a setting cannot work, or none of the images can be used.
      WeightsError: the network's weights cannot be had.
    """
    config = encoder_flags.encoder_config(values)
    check_network(config)
    failures: list[Failure] = []
    fitted = tfvlad.Encoder.fit(
        files,
        config,
        values.seed,
        on_error=lambda error: failures.append(Failure.of(error)),
        fewer_dims=not values["dim"].present,
    )
    if config.dim not in (None, fitted.dim):
        images = len(files) - len(failures)
        what = f"allow {fitted.dim} dimensions at most" if fitted.whitening else "are too few for a whitening"
        note(f"Note: {images} images {what}; fit anew on more than {config.dim} for {config.dim}")
    return fitted, failures


def in_words(fitted: tfvlad.Encoder, images: int) -> str:
    """Says what an encoder is, and on how many images it was fitted."""
    config = fitted.config
    encoding = f"{config.clusters} clusters" if config.encoding == "vlad" else fitted.aggregation.name
    return (
        f"{config.backbone} {config.layer}, {config.image_size} px, {encoding}, {fitted.dim} dimensions, "
        f"fitted on {images} images, fingerprint {fitted.fingerprint[:12]}"
    )
