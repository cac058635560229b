"""Where an exported model is written, and how a server runs it."""

from __future__ import annotations

from typing import get_args

from absl import flags

from tfvlad.config import Precision
from tfvlad_flags.paths import define_output, require_either


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --encoder, --index, --output, --version, --precision and --xla."""
    flags.DEFINE_string("encoder", None, "The encoder's folder; this or --index is needed.", flag_values=values)
    flags.DEFINE_string(
        "index",
        None,
        "Export this index's encoder, and its descriptors as they are now: the model then has the signature `search`, "
        "from image files to paths.",
        flag_values=values,
    )
    require_either("encoder", "index", values)
    define_output(
        values,
        None,
        "The model's folder, named as the model is to be called; its versions are its sub-folders; needed.",
    )
    flags.DEFINE_integer(
        "version",
        None,
        "The new version's number. Default: the one after the highest that is there.",
        lower_bound=1,
        upper_bound=2**63 - 1,  # TensorFlow Serving's bound
        flag_values=values,
    )
    flags.DEFINE_enum(
        "precision",
        None,
        get_args(Precision),
        "The precision that the network computes in on the server. Another one than the encoder was fitted with gives "
        "other descriptors under another fingerprint, so that an index must be made with the exported model. Default: "
        "the precision that the encoder was fitted with.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "xla",
        False,
        "Let the server compile the network with XLA; for servers with GPUs.",
        flag_values=values,
    )
    _exclude("encoder", "index has an encoder of its own, so --encoder cannot be given with it", values)
    _exclude("precision", "index keeps descriptors of its encoder's precision; --precision needs an --encoder", values)


def _exclude(name: str, why: str, values: flags.FlagValues) -> None:
    """Refuses a flag that is given together with --index."""
    flags.register_multi_flags_validator(  # type: ignore[no-untyped-call]
        [name, "index"],
        lambda given: not (given[name] and given["index"]),
        message=f"an {why}",
        flag_values=values,
    )
