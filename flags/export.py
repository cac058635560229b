"""Where an exported model is written, and how a server runs it."""

from __future__ import annotations

from typing import get_args

from absl import flags

from tfvlad.config import Precision
from tfvlad_flags.paths import define_output


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --output, --version, --precision and --xla."""
    define_output(
        values,
        None,
        "The model's folder, named as the model is to be called; its versions are its sub-folders; needed.",
    )
    flags.DEFINE_integer(
        "version",
        None,
        "The new version's number. Default: the one after the highest that is there.",
        lower_bound=1,
        upper_bound=2**63 - 1,  # TensorFlow Serving's bound
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision",
        None,
        get_args(Precision),
        "The precision that the network computes in on the server. Another one than the encoder was fitted with gives "
        "other descriptors under another fingerprint, so that an index must be made with the exported model. Default: "
        "the precision that the encoder was fitted with.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "xla",
        False,
        "Let the server compile the network with XLA; for servers with GPUs.",
        flag_values=values,
    )
