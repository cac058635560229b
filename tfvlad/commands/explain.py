"""`tfvlad explain`: shows why an indexed image is found."""

from __future__ import annotations

import os

from absl import flags

import tfvlad
from tfvlad.commands._finding import check_verifier
from tfvlad.commands._printing import DONE, say
from tfvlad.commands._writing import check_replaceable, check_writable, writing
from tfvlad.errors import ConfigError
from tfvlad.serving import load_encoder
from tfvlad.storage.atomic import atomic_file
from tfvlad_flags import encoder as encoder_flags
from tfvlad_flags import paths
from tfvlad_flags import search as search_flags

OPERANDS = "QUERY FOUND (an image, and an indexed one: its path or its id)"

_PAGES, _PICTURES = (".html", ".htm"), (".png",)


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_index(values)
    paths.define_other_encoder(values)
    encoder_flags.define_max_pixels(values)
    search_flags.define_box(values)
    search_flags.define_verifier(values)
    paths.define_output(values, None, "The page to write, or the picture alone where the name ends in .png; needed.")


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    if len(operands) != 2:
        raise ConfigError("which two images? give the query and the indexed image behind the flags")
    if not values.output.lower().endswith(_PAGES + _PICTURES):
        raise ConfigError(f"--output must end in .html or .png, got {values.output}")
    query, found = operands
    check_writable(values.output, operands)
    check_verifier(values.verifier)
    encoder = load_encoder(values.encoder, values.max_pixels) if values.encoder else None
    with tfvlad.Index.open(values.index, encoder, values.max_pixels) as index:
        is_picture = values.output.lower().endswith(_PICTURES)
        explanation = index.explain(
            query,
            _indexed_file(index, found),
            box=search_flags.box(values),
            verifier=values.verifier,
            shares=not is_picture,
        )
    check_replaceable(values.output, operands)
    with writing(values.output):
        if is_picture:
            with atomic_file(values.output) as partial, open(partial, "wb") as file:
                file.write(explanation.to_png())
        else:
            from tfvlad.reports.explanation_page import ExplainedMatch, write_explanation_page

            write_explanation_page(values.output, ExplainedMatch.of(query, explanation))
    count = len(explanation.cells)
    say(f"{explanation.verdict}: {count} local feature{' agrees' if count == 1 else 's agree'}; see {values.output}")
    return DONE


def _indexed_file(index: tfvlad.Index, given: str) -> int:
    """Returns the id of the indexed file at this path or with this id.

    Raises:
      ConfigError: the index does not hold it.
    """
    path = os.path.abspath(given)
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else None
    by_id = None
    for file, _, full_path in index.images():
        if os.path.abspath(full_path) == path:
            return file
        if file == number:
            by_id = file
    if by_id is None:
        raise ConfigError(f"{given} is not in the index; give the path or the id of an indexed image")
    return by_id
