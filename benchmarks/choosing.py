"""Which network, layer and image size find most for the milliseconds that they take?

    python benchmarks/choosing.py --data DATA --output FOLDER [--json OUT]

DATA holds `smvs_dvd`, `smvs_books`, `holidays_small` and the networks' weights. Every network sweeps every set, with
the settings of `tfvlad index` without an encoder: VLAD, codebook and whitening fitted on the images that are searched,
256 dimensions, or 96 of few images. No geometry and no views of the query, so that it is the descriptor that is judged.
FOLDER keeps what is finished; a run that was stopped goes on there. A row is on the Pareto front if nothing
faster finds as much: the mean, over the sets, of recall@1. `FOLDER/front.html` draws it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import subprocess
import sys
from pathlib import Path

import jinja2
import timing

from tfvlad.reports import charts

SETS = {
    "DVD covers": ("--images={data}/smvs_dvd/Reference", "--queries={data}/smvs_dvd/E63"),
    "book covers": ("--images={data}/smvs_books/Reference", "--queries={data}/smvs_books/Query"),
    "Holidays": ("--dataset=holidays:{data}/holidays_small",),
}
NETWORKS = {
    "vgg16": (
        "--backbone=vgg16",
        "--weights={data}/vgg16_imagenet_notop.weights.h5",
        "--layers=block3_conv3,block4_conv2,block4_conv3,block5_conv1,block5_conv2",
        "--image_sizes=192,256,384",
    ),
    "inceptionv3": (
        "--backbone=inceptionv3",
        "--weights={data}/inceptionv3_imagenet_notop.weights.h5",
        "--layers=mixed2,mixed3,mixed4,mixed5,mixed7",
        "--image_sizes=192,256,384",
    ),
    "squeezenet": (
        "--backbone={data}/squeezenet_imagenet_notop.keras",
        "--preprocessing=caffe",
        "--layers=fire[5-9]_concat",
        "--image_sizes=256,384,512",
    ),
}
DIMS = (96, 256)


@dataclasses.dataclass(frozen=True)
class Row:
    """A network, layer and image size."""

    network: str
    layer: str
    image_size: int
    ms_per_image: float
    recall_at_1: dict[str, float]
    mean_ap: dict[str, float]

    @property
    def quality(self) -> float:
        """The mean over the sets of recall@1."""
        return statistics.mean(self.recall_at_1.values())


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = [
        row
        for network in NETWORKS
        for row in rows_of(network, {name: sweep(network, name, arguments) for name in SETS})
    ]
    rows.sort(key=lambda row: row.ms_per_image)
    front = pareto_front(rows)
    timing.print_table(
        "recall@1 and mAP of the descriptors alone, ms/image of the network and the encoding; * is on the Pareto front",
        ("network, layer, px", "ms/image", *(f"{name}: recall@1, mAP" for name in SETS), "mean recall@1", ""),
        [
            (
                f"{row.network} {row.layer} {row.image_size}",
                f"{row.ms_per_image:.0f}",
                *(f"{row.recall_at_1[name]:.2f}, {row.mean_ap[name]:.2f}" for name in SETS),
                f"{row.quality:.3f}",
                "*" if row in front else "",
            )
            for row in rows
        ],
    )
    (arguments.output / "front.html").write_text(page(rows, front))
    timing.write_json(arguments.json, rows)


def sweep(network: str, name: str, arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Sweeps one set with one network, or goes on with it, and returns the rows of its results."""
    data, folder = arguments.data, arguments.output / f"{network} {name}"
    dims = ",".join(map(str, DIMS))
    flags = [*SETS[name], *NETWORKS[network], "--resize=fit", f"--dims={dims}", f"--output={folder}"]
    command = [sys.executable, "-m", "tfvlad", "sweep", *(flag.replace("{data}", str(data)) for flag in flags)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return list(csv.DictReader((folder / "results.csv").open()))


def rows_of(network: str, results: dict[str, list[dict[str, str]]]) -> list[Row]:
    """Joins the results of the sets: of each setting, those with the most dimensions."""
    best: dict[tuple[str, int], dict[str, dict[str, str]]] = {}
    for name, rows in results.items():
        for row in sorted(rows, key=lambda row: int(row["dim"])):
            if not row["impossible"]:
                best.setdefault((row["layer"], int(row["image_size"])), {})[name] = row
    return [
        Row(
            network,
            layer,
            size,
            statistics.median(float(row["network_ms"]) + float(row["encoding_ms"]) for row in of_sets.values()),
            {name: float(row["recall_at_1"]) for name, row in of_sets.items()},
            {name: float(row["mAP"]) for name, row in of_sets.items()},
        )
        for (layer, size), of_sets in best.items()
    ]


def pareto_front(rows: list[Row]) -> list[Row]:
    """Returns the rows that find more than every faster one; the rows come with the fastest first."""
    front: list[Row] = []
    for row in rows:
        if not front or row.quality > front[-1].quality:
            front.append(row)
    return front


def page(rows: list[Row], front: list[Row]) -> str:
    """Draws recall against milliseconds, with a line along the front."""

    def point(row: Row) -> charts.Point:
        about = f"{row.network} {row.layer}, {row.image_size} px: {row.quality:.3f}"
        return charts.Point(row.ms_per_image, row.quality, about=about)

    networks = [
        charts.Series(name, [point(row) for row in rows if row.network == name], colour, joined=False)
        for colour, name in enumerate(NETWORKS)
    ]
    line = charts.Series("Pareto front", [point(row) for row in front], len(networks), marked=False)
    chart = charts.Chart(
        "recall@1, the mean over three sets, against the time of an image",
        charts.logarithmic("ms per image, two cores", [row.ms_per_image for row in rows]),
        charts.linear("recall@1", [row.quality for row in rows], high=1.0),
        [*networks, line],
    )
    environment = jinja2.Environment(loader=jinja2.PackageLoader("tfvlad.reports"), autoescape=True)
    environment.filters |= charts.FILTERS
    environment.globals |= {"plot": charts.PLOT, "chart_width": charts.WIDTH}
    return environment.from_string(PAGE).render(chart=chart)


PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<title>Recall against time</title>
{% import "charts.html.j2" as charts with context %}
<style>
:root { --ink: #1c1e21; --dim: #5c6066; --line: #dfe1e5; --card: #ffffff; }
body { font: 16px system-ui, sans-serif; color: var(--ink); }
{{ charts.style() }}
</style>
{{ charts.figure(chart) }}
"""


if __name__ == "__main__":
    main()
