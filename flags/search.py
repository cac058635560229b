"""How an index is searched."""

from __future__ import annotations

from absl import flags


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --k and --exact."""
    flags.DEFINE_integer("k", 10, "Hits per query.", lower_bound=1, flag_values=values)
    define_exact(values)


def define_exact(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --exact."""
    flags.DEFINE_boolean("exact", False, "Compare with every image, and leave the graph out.", flag_values=values)
