"""How an index is searched: the number of hits, and whether the graph is used."""

from __future__ import annotations

from absl import flags


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --k and --exact."""
    flags.DEFINE_integer("k", 10, "Hits per query.", lower_bound=1, flag_values=values)
    define_exact(values)


def define_exact(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --exact."""
    flags.DEFINE_boolean("exact", False, "Compare each query with every image, without the graph.", flag_values=values)
