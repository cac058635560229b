"""Where an exported model goes."""

from __future__ import annotations

from absl import flags

from tfvlad_flags.required import require


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --output and --version."""
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
