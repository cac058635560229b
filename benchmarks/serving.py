"""What does serving cost? An encoder in its process beside its SavedModel, and beside servers on loopback.

    python benchmarks/serving.py --encoder E --model MODELS/NAME/1 --images DIR [--json OUT] [--rounds 15]

All take the same files' bytes, in requests of 1, 4 and 16. Prints, on all cores: the median time per image, what it is
more than `Encoder.encode`, its ratio to it (the median of the ratios within each round, in which all run once), and the
smallest cosine to its descriptors. Needs ``tfvlad[test]``: the servers are those of the tests, in Python and in the
process of their client, so TensorFlow Serving's own would add less.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from timing import Prepared, all_threads, compare, parser, print_missing, print_table, write_json

import tfvlad
from tfvlad.images.listing import image_paths

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

BATCHES = (1, 4, 16)
REFERENCE = "Encoder.encode"

_servers = contextlib.ExitStack()  # run until their process ends

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Row:
    """One contender at one number of images in a request."""

    batch: int
    name: str
    ms_per_image: float
    ms_more: float
    ratio: float
    cosine: float


def encoder_here(encoder: str, model: str, images: list[bytes], expected: Floats) -> Prepared:
    loaded = tfvlad.Encoder.load(encoder)
    return lambda: loaded.encode(images), _cosine_to(expected)


def saved_model(encoder: str, model: str, images: list[bytes], expected: Floats) -> Prepared:
    import tensorflow as tf

    answer = tf.saved_model.load(model).signatures["serving_default"]

    def run() -> Floats:
        descriptors: Floats = answer(image_bytes=tf.constant(images))["descriptor"].numpy()
        return descriptors

    return run, _cosine_to(expected)


def over_grpc(encoder: str, model: str, images: list[bytes], expected: Floats) -> Prepared:
    from helpers.model_servers import grpc_server

    return _remote(grpc_server, model, images, expected)


def over_rest(encoder: str, model: str, images: list[bytes], expected: Floats) -> Prepared:
    from helpers.model_servers import rest_server

    return _remote(rest_server, model, images, expected)


def _remote(server: Any, model: str, images: list[bytes], expected: Floats) -> Prepared:
    import tensorflow as tf
    from helpers.model_servers import Model

    from tfvlad.serving.client import RemoteEncoder

    remote = RemoteEncoder(_servers.enter_context(server(Model(tf.saved_model.load(model).signatures))))
    return lambda: remote.encode(images), _cosine_to(expected)


def _cosine_to(expected: Floats) -> Callable[[Floats], dict[str, float]]:
    return lambda result: {"cosine": float((result * expected).sum(axis=1).min())}


CONTENDERS = {
    REFERENCE: encoder_here,
    "SavedModel": saved_model,
    "RemoteEncoder, gRPC": over_grpc,
    "RemoteEncoder, REST": over_rest,
}


def main() -> None:
    arguments_of = parser(__doc__, rounds=15)
    arguments_of.add_argument("--encoder", required=True)
    arguments_of.add_argument("--model", required=True, help="a version's folder")
    arguments_of.add_argument("--images", required=True)
    arguments = arguments_of.parse_args()
    contents = [Path(path).read_bytes() for path in image_paths(arguments.images)[: max(BATCHES)]]
    expected = tfvlad.Encoder.load(arguments.encoder).encode(contents)

    rows: list[Row] = []
    missing: list[str] = []
    for batch in BATCHES:
        work = (arguments.encoder, arguments.model, contents[:batch], expected[:batch])
        timings, left_out = compare(CONTENDERS, work, max(all_threads()), arguments.rounds)
        missing += left_out
        here = timings[REFERENCE]
        for name, measured in timings.items():
            ms, more = (1000 * seconds / batch for seconds in (measured.median, measured.median - here.median))
            rows.append(Row(batch, name, ms, more, measured.ratio(here), measured.quality["cosine"]))
        print_table(
            f"{batch} images in a request",
            ["", "ms/image", "more", "ratio", "cosine"],
            [
                [row.name, f"{row.ms_per_image:.2f}", f"{row.ms_more:+.2f}", f"{row.ratio:.3f}", f"{row.cosine:.7f}"]
                for row in rows[-len(timings) :]
            ],
        )
    print_missing(missing)
    write_json(arguments.json, rows, missing)


if __name__ == "__main__":
    main()
