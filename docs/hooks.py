"""What the site adds to its pages: each command's help, made from its flags, in place of `<!-- help: COMMAND -->`."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for every page before it is rendered."""
    return re.sub(r"<!-- help: (\w+) -->", lambda found: help_block(found[1]), markdown)


def help_block(command: str) -> str:
    """What `tfvlad COMMAND --help` prints, as a block of Markdown.

    Raises:
      ValueError: there is no such command.
    """
    from tfvlad.commands._main import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = run([command, "--help"])
    if status != 0:
        raise ValueError(f"docs: no help for the command {command!r}")
    return f"```text\n{printed.getvalue().rstrip()}\n```"
