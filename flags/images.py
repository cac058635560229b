"""Which images to work on."""

from __future__ import annotations

from absl import flags

from tfvlad_flags.required import require


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --images."""
    flags.DEFINE_multi_string(
        "images", None, "A folder of images, with its sub-folders; needed, may be repeated.", flag_values=values
    )
    require("images", values)
