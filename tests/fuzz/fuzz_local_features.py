"""Coverage-guided fuzzing of the local features that an index keeps: they are read, then verified against honest ones.

    python tests/fuzz/fuzz_local_features.py -max_total_time=60 [CORPUS]

The checksum is made to fit, so that the values themselves are reached. An input ends as a match that is finite, or as
an ArtifactError of one line.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tfvlad.matching"]):
    from tfvlad.matching.local_features import _HEADER, LocalFeatures, _checksum
    from tfvlad.matching.verification import Candidate, CellVerifier, Query

import numpy as np

from tfvlad.errors import ArtifactError, MismatchError

generator = np.random.default_rng(0)
HONEST = LocalFeatures(
    generator.random((40, 2), np.float32),
    generator.integers(-127, 127, (40, 16)).astype(np.int8),
    (0.1, 0.12),
    (640, 480),
)


def read(data: bytes) -> None:
    """One input: a match, or one line."""
    if len(data) >= _HEADER.size:
        head, body = data[: _HEADER.size - 4], data[_HEADER.size :]
        data = head + _checksum(head + bytes(4), body).to_bytes(4, "little") + body
    try:
        features = LocalFeatures.from_bytes(data)
        (match,) = CellVerifier().verify(Query(b"", [HONEST]), [Candidate("photograph.jpg", [features])], cells=True)
    except (ArtifactError, MismatchError) as error:
        if "\n" in str(error):
            raise RuntimeError(f"not one line: {error!r}") from None
        return
    if match.transform is not None and not np.isfinite(match.transform).all():
        raise RuntimeError(f"a transform that is not finite: {match}")


def main() -> None:
    """Fuzzes until libFuzzer's limits are reached."""
    seeds = Path(tempfile.mkdtemp())
    (seeds / "honest").write_bytes(HONEST.to_bytes())
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    atheris.Setup([*sys.argv, *([] if given else [str(seeds)]), "-max_len=8192", "-rss_limit_mb=4096"], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
