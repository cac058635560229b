"""How an encoder is fitted, beside its settings."""

from __future__ import annotations

from absl import flags


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --seed."""
    flags.DEFINE_integer(
        "seed",
        0,
        "Makes the result reproducible.",
        lower_bound=0,
        upper_bound=2**32 - 1,  # scikit-learn's
        flag_values=values,
    )
