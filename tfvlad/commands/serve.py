"""`tfvlad serve`: answers searches over HTTP, and shows a page to search with a photograph."""

from __future__ import annotations

import importlib.util
import logging

from absl import flags

from tfvlad.commands._printing import DONE, note, say
from tfvlad.errors import ConfigError
from tfvlad.serving import load_encoder
from tfvlad_flags import service as service_flags

OPERANDS = ""

_NEEDED = ("starlette", "uvicorn", "python_multipart", "prometheus_client")


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    service_flags.define(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    indexes = service_flags.indexes(values)
    settings = service_flags.settings(values)
    if any(
        importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn", "multipart", "prometheus_client")
    ):
        raise ConfigError("serving needs more packages: pip install 'tfvlad[service]'")
    from tfvlad.service.access import is_loopback
    from tfvlad.service.app import Service
    from tfvlad.service.server import listen, serve

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    for name in ("uvicorn.error", "python_multipart"):  # which warn of each request that is no HTTP, or no form
        logging.getLogger(name).setLevel(logging.ERROR)
    only_local = is_loopback(values.host)
    try:
        opened = listen(values.host, values.port)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"--host={values.host} --port={values.port}: {reason}") from None

    def tell() -> None:
        host = f"[{values.host}]" if ":" in values.host else values.host
        say(f"Serving {', '.join(indexes)} at http://{host}:{opened.getsockname()[1]}/ (Ctrl-C ends it)")
        if not only_local and settings.token is None:
            note("Whoever reaches this machine can search, and see the images; --token_file keeps others out")

    with opened:
        serve(
            lambda end: Service(
                indexes,
                settings,
                None if values.encoder is None else lambda: load_encoder(values.encoder),
                only_local=only_local,
                on_failure=end,
            ),
            opened,
            tell,
        )
    return DONE
