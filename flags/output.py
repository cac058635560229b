"""How results are shown."""

from __future__ import annotations

from absl import flags


def define_format(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --format."""
    flags.DEFINE_enum(
        "format", "table", ["table", "json"], "What standard output holds; json is one document.", flag_values=values
    )


def define_html(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines --html."""
    flags.DEFINE_string("html", None, "Also draw the results as a page, in this file.", flag_values=values)


def define_output(values: flags.FlagValues, default: str | None, help_text: str) -> None:
    """Defines --output."""
    flags.DEFINE_string("output", default, help_text, flag_values=values)
