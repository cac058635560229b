"""Does the paper's finding hold on real photographs? Layers, input sizes and encodings on DVD covers.

Codebook and whitening are fitted on Reference + Canon, the database is the 100 covers of Reference, the queries are
the 100 photographs of E63 (Stanford Mobile Visual Search, Chandrasekhar et al., MMSys 2011).

    python benchmarks/dvd_covers.py --data DATA [--json OUT]

DATA holds `smvs_dvd/{Reference,Canon,E63}` and `squeezenet_imagenet_notop.keras`, an ImageNet-trained network.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt

import tfvlad
from tfvlad.encoding.whitening import fit_whitening
from tfvlad.evaluation.datasets import Dataset, load_dataset
from tfvlad.evaluation.metrics import Evaluation
from tfvlad.images.listing import image_paths
from tfvlad_kernels import encode_vlad

Floats = npt.NDArray[np.float32]

LAYERS = ("fire5_concat", "fire8_concat", "fire9_concat")
SIZES = (224, 448)
DIM = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"{'layer, input side':<22}{'mean pooling':>16}{'VLAD, full':>16}{f'VLAD, {DIM}-D':>16}   recall@1 / MRR")
    for size in SIZES:
        for layer in LAYERS:
            measured = measure(arguments.data, layer, size)
            cells = [f"{e.recall_at[1]:.2f} / {e.mrr:.2f}" for e in measured.values()]
            print(f"{f'{layer}, {size}':<22}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
            for encoding, e in measured.items():
                rows.append(
                    {"layer": layer, "size": size, "encoding": encoding, "recall@1": e.recall_at[1], "mrr": e.mrr}
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def measure(data: Path, layer: str, size: int) -> dict[str, Evaluation]:
    """One row of the table: encoding -> metrics."""
    covers = data / "smvs_dvd"
    dataset = load_dataset("smvs", covers / "E63")
    references, queries = ([image.path for image in images] for images in (dataset.database, dataset.queries))
    canon = image_paths(covers / "Canon")
    config = tfvlad.EncoderConfig(
        backbone=str(data / "squeezenet_imagenet_notop.keras"),
        preprocessing="caffe",
        layer=layer,
        image_size=size,
        dim=None,
    )
    encoder = tfvlad.Encoder.fit(references + canon, config, seed=0)
    paths = references + canon + queries
    means: list[Floats] = []
    vlads: list[Floats] = []
    for path in paths:
        features = encoder.local_features(path).reshape(-1, encoder.codebook.shape[1])
        means.append(unit(features.mean(axis=0)))
        vlads.append(encode_vlad(features[np.newaxis], encoder.codebook)[0])
    full = np.stack(vlads)
    projection, offset = fit_whitening(full[: len(references + canon)], DIM, seed=0).folded()
    encodings = {"mean": np.stack(means), "vlad": full, f"vlad {DIM}": unit(full @ projection - offset)}
    return {name: judge(dataset, rows[: len(references)], rows[-len(queries) :]) for name, rows in encodings.items()}


def judge(dataset: Dataset, database: Floats, queries: Floats) -> Evaluation:
    return dataset.judge(np.argsort(-(queries @ database.T), axis=1, kind="stable"))["all"].evaluation


def unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


if __name__ == "__main__":
    main()
