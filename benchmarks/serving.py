"""What does serving cost? An encoder in this process beside its SavedModel, and beside servers on loopback.

    python benchmarks/serving.py --encoder E --model MODELS/NAME/1 --images DIR [--rounds 9] [--json OUT]

All take the same files' bytes. Prints the median time per image of each at batches of 1 and 16, its ratio to
`Encoder.encode` (median of the ratios within each round, in which all run once, in random order), and the smallest
cosine to its descriptors. Needs ``tfvlad[test]``: the servers are those of the tests, with one Python process for both
ends, so that TensorFlow Serving's own would add less.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

import tfvlad
from tfvlad.folders import image_paths
from tfvlad.serving import RemoteEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from serving import Model, grpc_server, rest_server

BATCHES = (1, 16)
REFERENCE = "Encoder.encode"

Contender = Callable[[list[bytes]], npt.NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--model", required=True, help="a version's folder")
    parser.add_argument("--images", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there, too")
    arguments = parser.parse_args()
    contents = [Path(path).read_bytes() for path in image_paths(arguments.images)[: max(BATCHES)]]
    encoder, model = tfvlad.Encoder.load(arguments.encoder), Model(arguments.model)

    def saved_model(images: list[bytes]) -> npt.NDArray[np.float32]:
        descriptors: npt.NDArray[np.float32] = model.signatures["serving_default"](image_bytes=tf.constant(images))[
            "descriptor"
        ].numpy()
        return descriptors

    with grpc_server(model) as over_grpc, rest_server(model) as over_rest:
        contenders: dict[str, Contender] = {
            REFERENCE: encoder.encode,
            "SavedModel": saved_model,
            "RemoteEncoder, gRPC": RemoteEncoder(over_grpc).encode,
            "RemoteEncoder, REST": RemoteEncoder(over_rest).encode,
        }
        rows = [row for batch in BATCHES for row in measure(contenders, contents[:batch], arguments.rounds)]
    print(f"{'batch':>5}  {'':20}  {'ms/image':>8}  {'ratio':>5}  {'cosine':>9}")
    for row in rows:
        print(f"{row['batch']:5}  {row['name']:20}  {row['ms']:8.2f}  {row['ratio']:5.2f}  {row['cosine']:9.7f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(contenders: dict[str, Contender], images: list[bytes], rounds: int) -> list[dict[str, float | str]]:
    """Times all contenders on one batch."""
    expected = contenders[REFERENCE](images)
    cosines = {name: float((run(images) * expected).sum(axis=1).min()) for name, run in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            start = time.perf_counter()
            contenders[name](images)
            times[name].append((time.perf_counter() - start) / len(images))
    return [
        {
            "batch": len(images),
            "name": name,
            "ms": 1000 * statistics.median(taken),
            "ratio": statistics.median(map(lambda own, other: own / other, taken, times[REFERENCE])),
            "cosine": cosines[name],
        }
        for name, taken in times.items()
    ]


if __name__ == "__main__":
    main()
