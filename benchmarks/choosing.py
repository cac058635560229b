"""Which network, layer and image size find most for the milliseconds that they take?

    python benchmarks/choosing.py [--page front.html] [--json OUT]

The quality is that of the study (`docs/guides/study-figures.md`): the mAP of the whole VLAD, and its mean over the
three sets. Each network is cut at each layer and timed here, on tensors that lie ready, in batches of 4, with random
weights: its structure decides the speed. A row is on the Pareto front if nothing faster finds as much. ``--page`` draws
it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import statistics
from pathlib import Path

import jinja2
import numpy as np
import timing

from tfvlad.reports import charts

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "guides" / "study-figures.md"
BATCH = 4


@dataclasses.dataclass
class Row:
    """A network, layer and image size."""

    network: str
    layer: str
    image_size: int
    mean_ap: dict[str, float]
    ms_per_image: float = 0.0

    @property
    def quality(self) -> float:
        """The mean mAP over the sets."""
        return statistics.mean(self.mean_ap.values())


def main() -> None:
    parser = timing.parser(__doc__, rounds=1)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    rows = read_figures(FIGURES.read_text(encoding="utf-8"))
    for row in rows:
        row.ms_per_image = time_cut(row, arguments.seed)
    rows.sort(key=lambda row: row.ms_per_image)
    front = pareto_front(rows)
    sets = list(rows[0].mean_ap)
    print(f"| network, layer, px | ms/image | {' | '.join(sets)} | mean | front |")
    print("| --- " * (len(sets) + 4) + "|")
    for row in rows:
        figures = " | ".join(f"{row.mean_ap[name]:.3f}" for name in sets)
        mark = "yes" if row in front else ""
        print(
            f"| {row.network} `{row.layer}` {row.image_size} | {row.ms_per_image:.0f} | {figures} | "
            f"{row.quality:.3f} | {mark} |"
        )
    if arguments.page:
        arguments.page.write_text(page(rows, front), encoding="utf-8")
    timing.write_json(arguments.json, rows)


def read_figures(text: str) -> list[Row]:
    """Reads the tables of the study: a heading ``## NETWORK: SET``, and rows of layer, pixels and mAP."""
    rows: dict[tuple[str, str, int], Row] = {}
    network = of_set = ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"## (\w+): (.*)", line):
            network, of_set = heading[1].lower(), heading[2]
        elif figures := re.match(r"\| `(\w+)` \| (\d+) \| \**([\d.]+)", line):
            key = network, figures[1], int(figures[2])
            rows.setdefault(key, Row(*key, {})).mean_ap[of_set] = float(figures[3])
    return list(rows.values())


def time_cut(row: Row, seed: int) -> float:
    """The milliseconds that an image takes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from tfvlad.config import EncoderConfig
    from tfvlad.networks.backbones import load_backbone

    model = load_backbone(EncoderConfig(row.network, f"random:{seed}", row.layer)).model
    graph = tf.function(lambda images: model(images, training=False))
    images = tf.random.stateless_uniform((BATCH, row.image_size, row.image_size, 3), (seed, 0))
    return timing.median_seconds(lambda: np.asarray(graph(images))) / BATCH * 1e3


def pareto_front(rows: list[Row]) -> list[Row]:
    """Returns the rows that find more than every faster one; the rows come with the fastest first."""
    front: list[Row] = []
    for row in rows:
        if not front or row.quality > front[-1].quality:
            front.append(row)
    return front


def page(rows: list[Row], front: list[Row]) -> str:
    """Draws the quality against the milliseconds, with a line along the front."""

    def point(row: Row) -> charts.Point:
        about = f"{row.network} {row.layer}, {row.image_size} px: {row.quality:.3f}"
        return charts.Point(row.ms_per_image, row.quality, about=about)

    networks = list(dict.fromkeys(row.network for row in rows))
    series = [
        charts.Series(name, [point(row) for row in rows if row.network == name], colour, joined=False)
        for colour, name in enumerate(networks)
    ]
    line = charts.Series("Pareto front", [point(row) for row in front], len(networks), marked=False)
    chart = charts.Chart(
        "mAP, the mean over three sets, against the time of an image",
        charts.logarithmic("ms per image, two cores", [row.ms_per_image for row in rows]),
        charts.linear("mAP", [row.quality for row in rows], high=1.0),
        [*series, line],
    )
    environment = jinja2.Environment(loader=jinja2.PackageLoader("tfvlad.reports"), autoescape=True)
    environment.filters |= charts.FILTERS
    environment.globals |= {"plot": charts.PLOT, "chart_width": charts.WIDTH}
    return environment.from_string(PAGE).render(chart=chart)


PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<title>Quality against time</title>
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
