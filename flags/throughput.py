"""How much to measure."""

from __future__ import annotations

from absl import flags


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --limit."""
    flags.DEFINE_integer(
        "limit",
        256,
        "Images to measure on, at most: as many of the folder's, evenly spread; 0 takes all.",
        lower_bound=0,
        flag_values=values,
    )
