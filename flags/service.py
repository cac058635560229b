"""What is served, where, to whom, and how much a client may ask for."""

from __future__ import annotations

import os

from absl import flags

from tfvlad.errors import ConfigError
from tfvlad.service.settings import ServiceSettings
from tfvlad_flags.paths import SERVED, define_token_file, require, token
from tfvlad_flags.search import define_engine

_MIB = 2**20


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of ``tfvlad serve``."""
    flags.DEFINE_multi_string(
        "index",
        None,
        "The index's folder, or NAME=FOLDER to call it by another name than the folder's; needed, may be repeated.",
        flag_values=values,
    )
    require("index", values)
    flags.DEFINE_string(
        "host", "127.0.0.1", "The address to listen at; 0.0.0.0 is every one of this machine.", flag_values=values
    )
    flags.DEFINE_integer(
        "port", 8000, "The port; 0 takes any that is free.", lower_bound=0, upper_bound=65535, flag_values=values
    )
    define_token_file(
        values, "A file with a token of 16 characters or more; clients must send it as Authorization: Bearer TOKEN."
    )
    flags.DEFINE_multi_string(
        "cors_origin",
        [],
        "Let pages of this origin, such as https://example.org, ask from a browser; may be repeated.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "encoder",
        None,
        f"Use this folder's encoder, or {SERVED}, instead of the indexes' copies.",
        flag_values=values,
    )
    define_engine(values)
    flags.DEFINE_integer(
        "max_body", 20, "MiB that a request may have.", lower_bound=1, upper_bound=1024, flag_values=values
    )
    flags.DEFINE_integer(
        "max_pixels",
        50_000_000,
        "Pixels that a picture may have; its header is looked at before it is decoded.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "queue",
        256,
        "Requests that are worked on or wait; the next one is refused at once (503 with Retry-After).",
        lower_bound=1,
        upper_bound=100_000,
        flag_values=values,
    )


def indexes(values: flags.FlagValues = flags.FLAGS) -> dict[str, str]:
    """Returns the folder of each index by its name.

    Raises:
      ConfigError: two have the same name, or a name is none.
    """
    found: dict[str, str] = {}
    for given in values.index:
        name, equals, path = given.partition("=")
        if not equals or "/" in name or os.path.exists(given):
            name, path = os.path.basename(os.path.abspath(given)).removesuffix(".index"), given
        if not name or not path or len(name) > 100 or not name.isprintable():
            raise ConfigError(f"--index must be a folder, or NAME=FOLDER, got {given!r}")
        if name in found:
            raise ConfigError(f"--index: two are called {name}; give one as NAME=FOLDER")
        found[name] = path
    return found


def settings(values: flags.FlagValues = flags.FLAGS) -> ServiceSettings:
    """Returns what the service allows its clients.

    Raises:
      ConfigError: the token or an origin is not what it should be.
      OSError: the token's file cannot be read.
    """
    return ServiceSettings(
        token=token(values),
        cors_origins=tuple(values.cors_origin),
        max_body=values.max_body * _MIB,
        max_bodies=max(ServiceSettings.max_bodies, values.max_body * _MIB),
        max_pixels=None if values.encoder is not None and "://" in values.encoder else values.max_pixels,
        search=values.search,
        places=values.queue,
    )
