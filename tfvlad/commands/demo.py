"""`tfvlad demo`: draws images, fits an encoder, indexes, searches, evaluates and explains, and ends in pages."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil

from absl import flags

import tfvlad
from tfvlad.commands._finding import hits_table
from tfvlad.commands._printing import DONE, say, show, table
from tfvlad.commands._writing import check_outside
from tfvlad.errors import ConfigError
from tfvlad.images.listing import image_paths
from tfvlad_flags import encoder, paths

OPERANDS = ""

_COVERS = 60
_TURNS = "rotations:4"
_TRAINED = tfvlad.EncoderConfig(backbone="inceptionv3", layer="mixed0", image_size=224, clusters=64, dim=64)
# Without training, only the first layers, which see edges and colours, tell images apart.
_UNTRAINED = dataclasses.replace(_TRAINED, weights="random:0", layer="activation_4")


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    paths.define_output(values, "tfvlad-demo", "The folder to draw and work in.")
    encoder.define_seed(values)


def run(values: flags.FlagValues, operands: list[str]) -> int:
    """Runs the command."""
    from tfvlad.demo import DrawnDataset, draw_dataset, draw_odd_queries
    from tfvlad.evaluation import evaluate_index, load_queries_and_database
    from tfvlad.evaluation.summary import metric_rows, metric_table
    from tfvlad.reports.results_page import write_results_page

    folder = values.output or os.curdir
    check_outside(os.path.join(folder, "index"))
    held = os.listdir(folder) if os.path.lexists(folder) else []
    if held and not set(DrawnDataset._fields) <= set(held):  # its index and encoder may be somebody's
        raise ConfigError(f"{folder} is not of an earlier demo; give a folder that is empty or not there yet")
    say(f"Drawing covers, and photographs of them, in {folder}")
    drawn = draw_dataset(folder, covers=_COVERS, seed=values.seed)
    say("Fitting an encoder on the covers and on other photographs of them")
    encoder = _fit(image_paths(drawn.covers) + image_paths(drawn.fitting), values.seed)
    encoder.save(os.path.join(folder, "encoder"))
    say("Indexing the covers, and searching for every photograph")
    index_path = os.path.join(folder, "index")
    shutil.rmtree(index_path, ignore_errors=True)  # of an earlier demo
    with tfvlad.Index.create(index_path, encoder) as index:
        index.sync(drawn.covers)
        dataset, _ = load_queries_and_database(index, queries=str(drawn.photographs))
        evaluation = evaluate_index(index, dataset, finding={"verify": _COVERS})
        metrics = metric_rows(evaluation.best.evaluation)
        show(f"\n{table(*metric_table(evaluation))}\n")
        best = max(evaluation.results, key=lambda result: max((hit.inliers or 0 for hit in result.hits), default=0))
        odd = draw_odd_queries(folder, best.query, covers=_COVERS, seed=values.seed)
        _search_and_explain(index, str(odd.turned), "Searching for a photograph that lies on its side", folder)
        _search_and_explain(index, str(odd.stranger), "Searching for a photograph of another cover", None)
    page = os.path.abspath(os.path.join(folder, "results.html"))
    config = encoder.config
    note = f"{config.backbone} with {config.weights} weights, {config.layer}, {config.image_size} px, {encoder.dim}-D"
    write_results_page(page, evaluation.results, title="tfvlad demo", notes=[note], metrics=dict(metrics))
    say(f"Results page: {page}")
    query = str(drawn.photographs / "000.jpg")
    say(f"Next: {shlex.join(['tfvlad', 'search', '--index', index_path, query])}")
    return DONE


def _search_and_explain(index: tfvlad.Index, query: str, title: str, folder: str | None) -> None:
    """Searches for a query in four turns, prints the first hits, and explains the first on a page in the folder."""
    from tfvlad.reports.explanation_page import ExplainedMatch, write_explanation_page

    say(title)
    (hits,) = index.search(query, k=3, query_views=_TURNS)
    show(f"\n{hits_table(query, hits)}\n")
    if folder is not None:
        page = os.path.abspath(os.path.join(folder, "why.html"))
        write_explanation_page(page, ExplainedMatch.of(query, index.explain(query, hits[0])))
        say(f"Why the first was found: {page}")
        show("")


def _fit(images: list[str], seed: int) -> tfvlad.Encoder:
    try:
        encoder = tfvlad.Encoder.fit(images, _TRAINED, seed)
    except tfvlad.WeightsError:
        say(
            f"ImageNet weights of {_TRAINED.backbone} cannot be had here: going on with seeded random ones, and an "
            "earlier layer"
        )
        return tfvlad.Encoder.fit(images, _UNTRAINED, seed)
    say(f"The weights of {_TRAINED.backbone} are ImageNet's")
    return encoder
