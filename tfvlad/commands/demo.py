"""`tfvlad demo`: the whole way on images that it draws itself, ending in a results page."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil

from absl import flags

import tfvlad
from tfvlad.commands._failures import DONE
from tfvlad.commands._table import table
from tfvlad.errors import ConfigError
from tfvlad.images.listing import image_paths
from tfvlad_flags import fitting, output

OPERANDS = ""

_COVERS = 60
_TRAINED = tfvlad.EncoderConfig(backbone="inceptionv3", layer="mixed0", image_size=224, clusters=64, dim=64)
# Without training only the first layers, which see edges and colours, tell images apart.
_UNTRAINED = dataclasses.replace(_TRAINED, weights="random:0", layer="activation_4")


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    output.define_output(values, "tfvlad-demo", "The folder to draw and work in.")
    fitting.define(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    from tfvlad.demo.dataset import DrawnDataset, draw_dataset
    from tfvlad.evaluation.figures import as_rows
    from tfvlad.evaluation.measuring import measure
    from tfvlad.evaluation.selection import asked_dataset
    from tfvlad.reports.results import write_results

    folder = values.output or os.curdir
    held = os.listdir(folder) if os.path.lexists(folder) else []
    if held and not set(DrawnDataset._fields) <= set(held):  # its index and encoder may be anyone's
        raise ConfigError(f"{folder} is not of an earlier demo; give a folder that is empty or not there yet")
    print(f"Drawing covers, and photographs of them, in {folder}", flush=True)
    drawn = draw_dataset(folder, covers=_COVERS, seed=values.seed)
    print("Fitting an encoder on the covers and on other photographs of them", flush=True)
    encoder = _fit(image_paths(drawn.covers) + image_paths(drawn.fitting), values.seed)
    encoder.save(os.path.join(folder, "encoder"))
    print("Indexing the covers, and searching for every photograph", flush=True)
    index_path = os.path.join(folder, "index")
    shutil.rmtree(index_path, ignore_errors=True)  # of an earlier demo
    with tfvlad.Index.create(index_path, encoder) as index:
        index.sync(drawn.covers)
        dataset, _ = asked_dataset(index, None, str(drawn.photographs), "same_name")
        measured = measure(index, dataset)
    metrics = as_rows(measured.evaluation)
    print(f"\n{table(('metric', 'value'), metrics)}\n")
    page = os.path.abspath(os.path.join(folder, "results.html"))
    config = encoder.config
    note = f"{config.backbone} with {config.weights} weights, {config.layer}, {config.image_size} px, {encoder.dim}-D"
    write_results(page, measured.rows, title="tfvlad demo", notes=[note], metrics=dict(metrics))
    print(f"Results page: {page}")
    query = str(drawn.photographs / "000.jpg")
    print(f"Next: {shlex.join(['tfvlad', 'search', '--index', index_path, query])}")
    return DONE


def _fit(paths: list[str], seed: int) -> tfvlad.Encoder:
    try:
        encoder = tfvlad.Encoder.fit(paths, _TRAINED, seed)
    except tfvlad.WeightsError:
        print(
            f"ImageNet weights of {_TRAINED.backbone} cannot be had here: going on with seeded random ones, and an "
            "earlier layer",
            flush=True,
        )
        return tfvlad.Encoder.fit(paths, _UNTRAINED, seed)
    print(f"The weights of {_TRAINED.backbone} are ImageNet's", flush=True)
    return encoder
