"""Where encoders and indexes lie."""

from __future__ import annotations

from absl import flags

from tfvlad_flags.required import require


def define_encoder(values: flags.FlagValues = flags.FLAGS, required: bool = True) -> None:
    """Defines --encoder."""
    need = "needed" if required else "needed to make a new index"
    flags.DEFINE_string("encoder", None, f"The encoder's folder; {need}.", flag_values=values)
    if required:
        require("encoder", values)


def define_index(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --index."""
    flags.DEFINE_string("index", None, "The index's folder; needed.", flag_values=values)
    require("index", values)
