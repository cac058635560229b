"""What the commands that search have in common: how they find, as their flags say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tfvlad.evaluation.querying import Finding


def finding(values: flags.FlagValues) -> Finding:
    """Returns the arguments of a search that the flags of `tfvlad_flags.search.define_finding` ask for."""
    return {
        "exact": values.exact,
        "verify": values.verify,
        "query_views": values.query_views,
        "verifier": values.verifier,
        "expand": values.expand,
    }


def check_verifier(verifier: str) -> None:
    """Checks, before any work, that the verifier that is asked for can be used.

    Raises:
      ConfigError: it is ``sift``, and OpenCV is not installed.
    """
    if verifier == "sift":
        from tfvlad.matching.sift import SiftVerifier

        SiftVerifier()
