"""Where an exported model goes, and how it runs there."""

from __future__ import annotations

from typing import get_args

from absl import flags

from tfvlad.config import Precision
from tfvlad_flags.required import require


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --output, --version, --precision and --xla."""
    flags.DEFINE_string(
        "output",
        None,
        "The model's folder, named as the model is to be called; its versions are its sub-folders; needed.",
        flag_values=values,
    )
    require("output", values)
    flags.DEFINE_integer(
        "version",
        None,
        "The new version's number. Default: the one after the highest that is there.",
        lower_bound=1,
        upper_bound=2**63 - 1,  # TensorFlow Serving's
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision",
        None,
        get_args(Precision),
        "What the network computes in there. Another one than the encoder was fitted with gives other descriptors, "
        "under another fingerprint: an index must be made with the export. Default: what it was fitted with.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "xla",
        False,
        "Let the server compile the network with XLA; for servers with GPUs.",
        flag_values=values,
    )
