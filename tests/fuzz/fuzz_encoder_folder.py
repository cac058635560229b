"""Coverage-guided fuzzing of what reads an encoder's folder (``pip install tfvlad[test]`` on Linux brings Atheris).

    python tests/fuzz/fuzz_encoder_folder.py -max_total_time=60 [CORPUS]

The first byte of an input says which file it stands for: `codebook.npz` (its digest is made to fit, so that the arrays
themselves are reached) or `encoder.json`. Anything but a whole encoder or an ArtifactError of one line is a crash.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tfvlad", "numpy.lib", "zipfile", "json"]):
    from tfvlad.config import EncoderConfig
    from tfvlad.encoding.files import read_encoder, write_encoder
    from tfvlad.errors import ArtifactError

import numpy as np

FOLDER = Path(tempfile.mkdtemp()) / "encoder"
write_encoder(FOLDER, EncoderConfig(clusters=2, dim=None), np.eye(2, 3, dtype=np.float32), None, None, "f" * 64)
DESCRIPTION = (FOLDER / "encoder.json").read_bytes()
CODEBOOK = (FOLDER / "codebook.npz").read_bytes()


def read(data: bytes) -> None:
    """One input: an encoder, or one line."""
    codebook, description = (CODEBOOK, data[1:]) if data[:1] == b"j" else (data[1:], DESCRIPTION)
    (FOLDER / "codebook.npz").write_bytes(codebook)
    if description is DESCRIPTION:
        fitting = json.loads(DESCRIPTION)
        fitting["sha256"]["codebook.npz"] = hashlib.sha256(codebook).hexdigest()
        description = json.dumps(fitting).encode()
    (FOLDER / "encoder.json").write_bytes(description)
    try:
        stored = read_encoder(FOLDER)
    except ArtifactError as error:
        if "\n" in str(error):
            raise RuntimeError(f"not one line: {error!r}") from None
        return
    if not np.isfinite(stored.codebook).all():
        raise RuntimeError("a codebook that is not finite")


def main() -> None:
    """Fuzzes until libFuzzer's limits are reached."""
    seeds = Path(tempfile.mkdtemp())
    compressed = io.BytesIO()
    np.savez_compressed(compressed, centroids=np.eye(2, 3, dtype=np.float32))
    for name, seed in {"c": b"c" + CODEBOOK, "j": b"j" + DESCRIPTION, "z": b"c" + compressed.getvalue()}.items():
        (seeds / name).write_bytes(seed)
    given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    atheris.Setup([*sys.argv, *([] if given else [str(seeds)]), "-max_len=8192", "-rss_limit_mb=4096"], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
