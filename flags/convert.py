"""Which weights are converted, and where to."""

from __future__ import annotations

from absl import flags

from tfvlad_flags import paths


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --weights and --output, which are needed."""
    flags.DEFINE_string(
        "weights",
        None,
        "GoogLeNet's published weights: bvlc_googlenet.caffemodel, or torchvision's googlenet-1378be20.pth; needed.",
        flag_values=values,
    )
    paths.require("weights", values)
    paths.define_output(values, None, "The file to write, whose name ends in .weights.h5; needed.")
