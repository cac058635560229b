"""Where encoders and indexes lie."""

from __future__ import annotations

from absl import flags

from tfvlad_flags.required import require

_SERVED = "the URL of a served one (grpc://HOST:PORT/NAME, http://HOST:PORT/v1/models/NAME)"


def define_encoder(values: flags.FlagValues = flags.FLAGS, required: bool = True) -> None:
    """Defines --encoder."""
    need = "needed" if required else f"or {_SERVED}; needed to make a new index"
    flags.DEFINE_string("encoder", None, f"The encoder's folder; {need}.", flag_values=values)
    if required:
        require("encoder", values)


def define_other_encoder(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --encoder for an index that has one of its own."""
    flags.DEFINE_string(
        "encoder", None, f"Use this folder's encoder, or {_SERVED}, instead of the index's copy.", flag_values=values
    )


def define_index(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --index."""
    flags.DEFINE_string("index", None, "The index's folder; needed.", flag_values=values)
    require("index", values)
