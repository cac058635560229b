"""Every public name can be imported from where it was ever documented."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest

PUBLIC = {
    "tfvlad": [
        "ArtifactError",
        "ConfigError",
        "Encoder",
        "EncoderConfig",
        "Hit",
        "ImageError",
        "Index",
        "IndexConfig",
        "MismatchError",
        "ServingError",
        "TfvladError",
        "WeightsError",
        "__version__",
    ],
    "tfvlad.config": ["EncoderConfig", "IndexConfig"],
    "tfvlad.datasets": [
        "PUBLISHED",
        "Box",
        "DatabaseImage",
        "Dataset",
        "Judgement",
        "Query",
        "Size",
        "Truth",
        "as_indexed",
        "check_plain",
        "load_dataset",
        "plain_folder",
        "split_name",
    ],
    "tfvlad.errors": [
        "ArtifactError",
        "ConfigError",
        "ImageError",
        "MismatchError",
        "ServingError",
        "TfvladError",
        "WeightsError",
    ],
    "tfvlad.export": ["saved_model"],
    "tfvlad.metrics": [
        "Evaluation",
        "average_precision",
        "evaluate",
        "holidays_ap",
        "ns_score",
        "positive_ranks",
        "relevance",
    ],
    "tfvlad.serving": ["RemoteEncoder"],
    "tfvlad.sweep": [
        "Cell",
        "Grid",
        "Needs",
        "Quality",
        "SearchCell",
        "SearchGrid",
        "SearchSetting",
        "Setting",
        "Study",
        "Sweep",
        "self_retrieval",
        "sweep",
    ],
    "tfvlad_kernels": ["assign", "cluster_sums", "encode_vlad"],
}
METHODS = {
    "tfvlad.Encoder": ["fit", "save", "load", "encode", "local_features"],
    "tfvlad.Index": ["create", "sync", "search", "search_descriptors", "verify"],
    "tfvlad.datasets.Dataset": ["judge"],
    "tfvlad.serving.RemoteEncoder": ["encode"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_a_documented_name_is_where_it_was(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in METHODS.items() for name in names])
def test_a_documented_method_is_where_it_was(owner: str, name: str) -> None:
    module, _, class_name = owner.rpartition(".")
    assert callable(getattr(getattr(importlib.import_module(module), class_name), name))


def test_the_facade_says_what_it_holds() -> None:
    import tfvlad

    assert set(PUBLIC["tfvlad"]) <= set(dir(tfvlad))
    assert set(dir(tfvlad)) == set(tfvlad.__all__)


def test_import_tfvlad_leaves_tensorflow_out() -> None:
    script = "import sys, tfvlad, tfvlad.index, tfvlad.commands._main; print('tensorflow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_tensorflow_is_imported_quietly() -> None:
    script = "import tfvlad, tensorflow as tf; tf.constant(1) + 1; print(tf.__spec__.loader.get_filename('tensorflow'))"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == ""
    assert ran.stdout.rstrip().endswith("__init__.py")
