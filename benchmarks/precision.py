"""What does a shorter precision cost in quality, and what does it gain from files to descriptors?

    python benchmarks/precision.py --data DATA [--layer fire8_concat] [--image_size 448] [--json OUT]

DATA holds `smvs_dvd/{Reference,Canon,E63}` and `squeezenet_imagenet_notop.keras`, an ImageNet-trained network. In each
precision an encoder is fitted on Reference + Canon, and the photographs of E63 are searched for in Reference: recall@1,
MRR, and how much MRR differs from float32's, as a 95 % interval (bootstrap over queries). The cosines, the smallest and
the median, are between float32's descriptors of E63 and those that the other precision gives with float32's codebook
and whitening. They fall below 0.999, so an encoder's precision is a part of its fingerprint. Images/s are those of
`Encoder.encode` from files, on all cores; the speed-up is the median of the ratios within rounds.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import get_args

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
import timing

import tfvlad
from tfvlad.config import Precision
from tfvlad.evaluation.datasets import Dataset, load_dataset
from tfvlad.images.listing import image_paths
from tfvlad.sweep.statistics import difference

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Row:
    """One precision; the interval is of the mean difference of the reciprocal ranks to float32's."""

    precision: str
    recall_at_1: float
    mrr: float
    mrr_difference_low: float
    mrr_difference_high: float
    smallest_cosine: float
    median_cosine: float
    images_per_second: float
    speedup: float


def main() -> None:
    parser = timing.parser(__doc__, rounds=5)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--layer", default="fire8_concat")
    parser.add_argument("--image_size", type=int, default=448)
    arguments = parser.parse_args()
    covers = arguments.data / "smvs_dvd"
    dataset = load_dataset("smvs", covers / "E63")
    database, queries = ([image.path for image in images] for images in (dataset.database, dataset.queries))
    config = tfvlad.EncoderConfig(
        backbone=str(arguments.data / "squeezenet_imagenet_notop.keras"),
        preprocessing="caffe",
        layer=arguments.layer,
        image_size=arguments.image_size,
    )
    fitted = {
        precision: tfvlad.Encoder.fit(
            database + image_paths(covers / "Canon"),
            dataclasses.replace(config, precision=precision),
            seed=arguments.seed,
        )
        for precision in get_args(Precision)
    }
    described = {precision: encoder.encode(queries) for precision, encoder in fitted.items()}
    ranks = {
        precision: reciprocal_ranks(dataset, encoder.encode(database), described[precision])
        for precision, encoder in fitted.items()
    }
    seconds = times(fitted, queries, arguments.rounds)
    rows = []
    for precision in fitted:
        cosines = np.sum(described["float32"] * in_precision(fitted["float32"], precision, queries), axis=1)
        gain = difference(ranks[precision], ranks["float32"], arguments.seed)
        rows.append(
            Row(
                precision,
                float(np.mean(ranks[precision] == 1)),
                float(np.mean(ranks[precision])),
                gain.low,
                gain.high,
                float(cosines.min()),
                float(np.median(cosines)),
                len(queries) / float(np.median(seconds[precision])),
                float(np.median(seconds["float32"] / seconds[precision])),
            )
        )
    timing.print_table(
        f"SqueezeNet {arguments.layer}, {arguments.image_size} px, 128-D, {len(queries)} queries",
        ("precision", "recall@1", "MRR", "to float32's", "smallest cosine", "median", "images/s", "speed-up"),
        [
            (
                row.precision,
                f"{row.recall_at_1:.2f}",
                f"{row.mrr:.3f}",
                f"{row.mrr_difference_low:+.3f} to {row.mrr_difference_high:+.3f}",
                f"{row.smallest_cosine:.4f}",
                f"{row.median_cosine:.4f}",
                f"{row.images_per_second:.1f}",
                f"{row.speedup:.2f}",
            )
            for row in rows
        ],
    )
    timing.write_json(arguments.json, rows)


def reciprocal_ranks(dataset: Dataset, database: Floats, queries: Floats) -> npt.NDArray[np.float64]:
    """(Q,) reciprocal rank of each query's only right answer, by exact search."""
    order = np.argsort(-(queries @ database.T), axis=1, kind="stable")
    return 1 / dataset.judge(order)["all"].evaluation.first_ranks


def in_precision(encoder: tfvlad.Encoder, precision: Precision, paths: list[str]) -> Floats:
    """(n, dim) what the encoder's codebook and whitening make of images in another precision."""
    with tempfile.TemporaryDirectory() as folder:
        encoder.save(folder + "/encoder")
        return tfvlad.Encoder.load(folder + "/encoder", precision=precision).encode(paths)


def times(
    encoders: dict[Precision, tfvlad.Encoder], paths: list[str], rounds: int
) -> dict[Precision, npt.NDArray[np.float64]]:
    """(rounds,) seconds that each takes for all the images; all have encoded before."""
    taken: dict[Precision, list[float]] = {precision: [] for precision in encoders}
    for _ in range(rounds):
        for precision, encoder in encoders.items():
            start = time.perf_counter()
            encoder.encode(paths)
            taken[precision].append(time.perf_counter() - start)
    return {precision: np.array(seconds) for precision, seconds in taken.items()}


if __name__ == "__main__":
    main()
