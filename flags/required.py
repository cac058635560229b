"""Flags that a command cannot do without."""

from __future__ import annotations

from absl import flags


def require(name: str, values: flags.FlagValues) -> None:
    """Makes a flag required, with a message in plain words."""
    flags.register_validator(  # type: ignore[no-untyped-call]
        name, _given, message=f"--{name} is needed", flag_values=values
    )


def _given(value: str | list[str] | None) -> bool:
    return all(value) if isinstance(value, list) else bool(value)
