"""Coverage-guided fuzzing of the image loader with Atheris (``pip install tfvlad[test]`` on Linux brings it).

    python tests/fuzz/fuzz_images.py -max_total_time=60 [CORPUS]

It starts from small files of every format, and damages them by what the formats are made of (`hostile.damage`). A file
that makes the loader raise anything but an ImageError of one line, give values that are not finite, or die is written
to ``crash-*``, beside where it was started; give its path instead of the corpus to run it again.

What it covers: the coverage that guides it is that of tfvlad's Python code, which builds a graph once; the graph's
operations and TensorFlow's native decoders are not instrumented. On them this is random mutation under a limit on
memory: a native crash is found, but the way to it is not learned.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tfvlad"]):
    from tfvlad.errors import ImageError
    from tfvlad.images.loading import ImageLoader

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))
from helpers.damaged_images import KINDS, damage, whole_images

WHOLE = list(whole_images().values())
LOADER = ImageLoader(64, "fit", "none", max_pixels=4_000_000)


@atheris.instrument_func  # type: ignore[untyped-decorator]
def load(data: bytes) -> None:
    """One input: a tensor of finite values, or one line."""
    try:
        image = np.asarray(LOADER.load(data))
    except ImageError as error:
        check(bool(error.reason) and "\n" not in str(error), f"not one line: {error!r}")
        return
    check(image.ndim == 3 and max(image.shape[:2]) == 64, f"shape {image.shape}")
    check(bool(np.isfinite(image).all()), "values that are not finite")


def check(holds: bool, message: str) -> None:
    """Stops the fuzzer, which keeps the input."""
    if not holds:
        raise RuntimeError(message)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Damages what libFuzzer has, or a whole image."""
    generator = random.Random(seed)
    base = data if len(data) > 64 and generator.random() < 0.5 else generator.choice(WHOLE)
    return damage(base, generator.choice(KINDS), generator, WHOLE)[:max_size]


def main() -> None:
    """Fuzzes until libFuzzer's limits are reached."""
    atheris.Setup([*sys.argv, "-max_len=65536", "-rss_limit_mb=4096"], load, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
