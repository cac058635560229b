"""Which folders and files a command works on, and the form in which it prints its results."""

from __future__ import annotations

from absl import flags

from tfvlad.errors import ConfigError

_LONGEST_TOKEN = 4096  # bytes of its file

SERVED = "the URL of a served one (grpc://HOST:PORT/NAME, http://HOST:PORT/v1/models/NAME)"


def define_images(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --images, which is needed."""
    flags.DEFINE_multi_string(
        "images", None, "A folder of images, with its sub-folders; needed, may be repeated.", flag_values=values
    )
    require("images", values)


def define_limit(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --limit, the number of images to take from --images."""
    flags.DEFINE_integer(
        "limit",
        256,
        "Images to measure on, at most; they are spread evenly over the folder. 0 takes all.",
        lower_bound=0,
        flag_values=values,
    )


def define_encoder(values: flags.FlagValues = flags.FLAGS, required: bool = True) -> None:
    """Defines --encoder; where it is not required, a served encoder will do too."""
    need = "; needed" if required else f", or {SERVED}. Default, for a new index: one that is fitted on its images"
    flags.DEFINE_string("encoder", None, f"The encoder's folder{need}.", flag_values=values)
    if required:
        require("encoder", values)


def define_other_encoder(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --encoder for commands on an index, which has an encoder of its own."""
    flags.DEFINE_string(
        "encoder", None, f"Use this folder's encoder, or {SERVED}, instead of the index's copy.", flag_values=values
    )


def define_index(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --index, which is needed."""
    flags.DEFINE_string("index", None, "The index's folder; needed.", flag_values=values)
    require("index", values)


def define_token_file(values: flags.FlagValues, help_text: str) -> None:
    """Defines --token_file."""
    flags.DEFINE_string("token_file", None, help_text, flag_values=values)


def token(values: flags.FlagValues) -> str | None:
    """Returns what the file of --token_file holds; None where there is none.

    Raises:
      ConfigError: it is not a file of one token.
      OSError: it cannot be read.
    """
    if values.token_file is None:
        return None
    with open(values.token_file, "rb") as file:
        data = file.read(_LONGEST_TOKEN + 1)
    if len(data) > _LONGEST_TOKEN or not data.isascii():
        raise ConfigError(f"--token_file={values.token_file}: not a file of one token")
    return data.decode("ascii").strip()


def define_output(values: flags.FlagValues, default: str | None, help_text: str) -> None:
    """Defines --output; it is needed where there is no default."""
    flags.DEFINE_string("output", default, help_text, flag_values=values)
    if default is None:
        require("output", values)


def define_html(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --html."""
    flags.DEFINE_string("html", None, "Also draw the results as a page, in this file.", flag_values=values)


def define_format(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --format."""
    flags.DEFINE_enum(
        "format", "table", ["table", "json"], "What standard output holds; json is one document.", flag_values=values
    )


def require(name: str, values: flags.FlagValues) -> None:
    """Makes a flag required: neither it nor, where it may be repeated, one of its values may be missing or empty."""
    flags.register_validator(  # type: ignore[no-untyped-call]
        name, _is_given, message=f"--{name} is needed", flag_values=values
    )


def require_either(name: str, other: str, values: flags.FlagValues) -> None:
    """Makes one of two flags required; where both are missing or empty, the first is asked for."""
    flags.register_multi_flags_validator(  # type: ignore[no-untyped-call]
        [name, other],
        lambda given: bool(given[name] or given[other]),
        message=f"--{name} is needed",
        flag_values=values,
    )


def _is_given(value: str | list[str] | None) -> bool:
    return all(value) if isinstance(value, list) else bool(value)
