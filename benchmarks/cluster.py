"""How many images a second does Ray encode, beside this process, and what does a killed node cost?

    python benchmarks/cluster.py --encoder E --images DIR [--count 160] [--json OUT]

All in one run, on a Ray cluster of one-core nodes that is started here: `Encoder.encode` with one and with two threads;
`RayEncoder`, which is `tfvlad index --engine ray`, with one and with two workers of one core; and with two workers of
which one's node is killed in the middle and another node joins. Descriptors are compared with those of this process.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray
import timing
from ray.cluster_utils import Cluster

import tfvlad
from tfvlad.cluster import RayEncoder
from tfvlad.images.listing import image_paths

NODE = {"num_cpus": 1, "object_store_memory": 300 * 2**20}


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--count", type=int, default=160)
    arguments = parser.parse_args()
    paths = image_paths(arguments.images)
    contents = [Path(path).read_bytes() for path in itertools.islice(itertools.cycle(paths), arguments.count)]
    rates: dict[str, float] = {}
    expected = None
    for threads in (1, 2):
        with timing.pinned(threads):
            rate, expected = timing.alone(here, arguments.encoder, contents)
        rates[f"this process, {threads} threads"] = rate
    encoder = tfvlad.Encoder.load(arguments.encoder)
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(**NODE) for _ in range(2)]
    made.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = made.address
    ray.init(made.address, log_to_driver=False, logging_level="ERROR")
    least = 1.0
    for workers, killed in ((1, False), (2, False), (2, True)):
        remote: Any = RayEncoder(encoder, "ray", 0, workers)
        list(remote.encode_stream(contents[: 32 * workers]))  # loads and traces the network
        start = time.perf_counter()
        found = list(remote.encode_stream(losing(contents, made, nodes) if killed else contents))
        name = f"Ray, {workers} workers" + (", one node killed" if killed else "")
        rates[name] = len(contents) / (time.perf_counter() - start)
        least = min(least, *(float(one.descriptors[0] @ row) for one, row in zip(found, expected, strict=True)))
        remote.close()
    ray.shutdown()
    made.shutdown()
    base = rates["this process, 1 threads"]
    timing.print_table(
        f"{len(contents)} images; the smallest cosine to this process' descriptors is {least:.7f}",
        ("", "images/s", "to one thread here"),
        [(name, f"{rate:.2f}", f"{rate / base:.2f}") for name, rate in rates.items()],
    )
    timing.write_json(arguments.json, [])


def here(encoder: str, contents: list[bytes]) -> tuple[float, np.ndarray]:
    """Images a second of this process, behind a first batch, and the descriptors."""
    loaded = tfvlad.Encoder.load(encoder)
    loaded.encode(contents[:32])
    start = time.perf_counter()
    found = loaded.encode(contents)
    return len(contents) / (time.perf_counter() - start), found


def losing(contents: list[bytes], made: Cluster, nodes: list[Any]) -> Iterator[bytes]:
    """The images; in the middle of them a node is killed, and another one joins."""
    for number, content in enumerate(contents):
        if number == len(contents) // 2:
            made.remove_node(nodes.pop(0), allow_graceful=False)
            nodes.append(made.add_node(**NODE))
        yield content


if __name__ == "__main__":
    main()
