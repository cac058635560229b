from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable

import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

import tfvlad
from tfvlad.commands._main import COMMANDS
from tfvlad.config import LOCAL_FEATURES
from tfvlad_flags import encoder, evaluation, index, paths, search

FITTING = {
    "images", "encoder", "backbone", "weights", "layer", "preprocessing", "precision", "image_size", "resize",
    "encoding", "clusters", "intra_norm", "power", "dim", "shrinkage", "codebook_samples", "whitening_samples",
    "max_pixels", "seed",
}  # fmt: skip

# The flags that programs rely on, and whatever else there is.
FLAGS = {
    "fit": FITTING,
    "index": FITTING | {
        "index", "m", "ef_construction", "ef_search", "allow_empty", "retry_failed", "format", "report",
        "target_recall", "views", "local_features", "calibrate", "forget", "relocate", "check_content",
        "search", "engine", "from",
    },
    "search": {
        "index", "encoder", "k", "exact", "format", "html", "max_pixels", "verify", "verifier", "query_views", "box",
        "expand", "reciprocal", "server", "token_file", "fetch", "search",
    },
    "evaluate": {
        "index", "encoder", "dataset", "queries", "ground_truth", "query_boxes", "graph_hits", "exact", "format",
        "html", "max_pixels", "verify", "verifier", "query_views", "expand", "reciprocal",
    },
    "explain": {
        "index", "encoder", "max_pixels", "output", "box", "verifier",
    },
    "export": {"encoder", "index", "output", "version", "precision", "xla"},
    "sweep": {
        "images", "dataset", "queries", "ground_truth", "query_boxes", "fit_on", "proxy_queries", "layers",
        "image_sizes", "clusters", "dims", "encodings", "backbone", "weights", "preprocessing", "precision", "resize",
        "intra_norm", "power", "shrinkage", "codebook_samples", "whitening_samples", "max_pixels", "seed", "output",
        "format", "search_settings", "views", "query_views", "verify", "verifier", "expand",
    },
    "bench": {"images", "encoder", "max_pixels", "limit", "format"},
    "layers": {"backbone", "format"},
    "convert": {"weights", "output", "format"},
    "duplicates": {"index", "format", "html"},
    "serve": {
        "index", "host", "port", "token_file", "cors_origin", "encoder", "max_body", "max_pixels", "queue",
        "search",
    },
    "doctor": {"index", "format"},
    "completion": set(),
    "demo": {"output", "seed"},
}  # fmt: skip


def parsed(define: Callable[[flags.FlagValues], object], *arguments: str) -> flags.FlagValues:
    values = flags.FlagValues()  # type: ignore[no-untyped-call]
    define(values)
    values(["program", *arguments])
    return values


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_the_flags_that_programs_rely_on(name: str) -> None:
    values = flags.FlagValues()  # type: ignore[no-untyped-call]
    importlib.import_module(f"tfvlad.commands.{name}").define(values)
    assert set(values) == FLAGS[name]
    for flag in FLAGS[name]:
        assert values[flag].help.endswith(".") or "repeat this option" in values[flag].help


def test_defining_flags_leaves_the_global_ones_alone() -> None:
    assert not {"images", "clusters", "ef_search"} & set(flags.FLAGS)


def test_defaults_are_those_of_the_library() -> None:
    assert encoder.encoder_config(parsed(encoder.define)) == tfvlad.EncoderConfig()
    assert index.index_config(parsed(index.define)) == tfvlad.IndexConfig()


def test_every_setting_has_its_flag() -> None:
    values = parsed(encoder.define)
    assert set(values) == {field.name for field in dataclasses.fields(tfvlad.EncoderConfig)}
    assert {field.name for field in dataclasses.fields(tfvlad.IndexConfig)} <= set(parsed(index.define))


CANDIDATES = st.integers(2, 10**6)

configs = st.builds(
    tfvlad.EncoderConfig,
    backbone=st.sampled_from(["vgg16", "inceptionv3", "some/network.keras"]),
    weights=st.sampled_from(["imagenet", "random:7", "some/weights.h5"]),
    layer=st.sampled_from([None, "block2_conv1"]),
    preprocessing=st.sampled_from([None, "caffe", "tf", "torch", "none"]),
    image_size=st.integers(1, 10_000),
    resize=st.sampled_from(["stretch", "fit"]),
    clusters=st.integers(1, 1000),
    intra_norm=st.booleans(),
    power=st.floats(0, 1, exclude_min=True),
    dim=st.none() | st.integers(1, 10_000),
    codebook_samples=st.integers(1000, 10**9),
    whitening_samples=st.integers(2, 10**6),
    max_pixels=st.integers(1, 10**12),
    encoding=st.sampled_from(["vlad", "mean", "max", "gem", "fc"]),
    shrinkage=st.floats(0, 100),
)


@given(configs)
def test_settings_survive_the_command_line(config: tfvlad.EncoderConfig) -> None:
    given_as = dataclasses.asdict(config) | {"dim": config.dim or 0}
    arguments = [f"--{name}={value}" for name, value in given_as.items() if value is not None]
    assert encoder.encoder_config(parsed(encoder.define, *arguments)) == config


@given(
    st.builds(
        tfvlad.IndexConfig, m=st.integers(2, 10**4), **dict.fromkeys(("ef_construction", "ef_search"), CANDIDATES)
    )
)
def test_settings_of_an_index_survive_the_command_line(config: tfvlad.IndexConfig) -> None:
    arguments = [f"--{name}={value}" for name, value in dataclasses.asdict(config).items()]
    assert index.index_config(parsed(index.define, *arguments)) == config


def test_no_whitening_is_a_dim_of_zero_and_no_layer_an_empty_one() -> None:
    config = encoder.encoder_config(parsed(encoder.define, "--dim=0", "--layer="))
    assert (config.dim, config.layer) == (None, None)


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(tfvlad.ConfigError, match=r"codebook_samples must be at least clusters \(100\), got 99"):
        encoder.encoder_config(parsed(encoder.define, "--codebook_samples=99"))


@pytest.mark.parametrize(
    ("define", "argument"),
    [
        (encoder.define, "--clusters=0"),
        (encoder.define, "--dim=-1"),
        (encoder.define, "--image_size=0"),
        (encoder.define, "--image_size=10001"),
        (encoder.define, "--power=1.5"),
        (encoder.define, "--power=-0.5"),
        (encoder.define, "--whitening_samples=1"),
        (encoder.define, "--resize=crop"),
        (encoder.define, "--preprocessing=keras"),
        (index.define, "--m=1"),
        (index.define, "--m=10001"),
        (index.define, "--ef_construction=1000001"),
        (index.define, "--ef_search=0"),
        (search.define, "--k=0"),
        (search.define, "--k=ten"),
        (search.define, "--verify=-1"),
        (search.define, "--verify=100001"),
        (search.define, "--verify=all"),
        (search.define, "--verifier=orb"),
        (search.define, "--expand=-1"),
        (search.define, "--expand=1001"),
        (search.define, "--reciprocal=-1"),
        (search.define, "--reciprocal=501"),
        (index.define_kept, "--local_features=-1"),
        (index.define_kept, "--local_features=16385"),
        (index.define_kept, "--local_features=many"),
        (encoder.define_seed, "--seed=-1"),
        (encoder.define_seed, "--seed=4294967296"),
        (paths.define_format, "--format=xml"),
    ],
)
def test_bounds_and_choices_are_those_of_the_flag(define: Callable[[flags.FlagValues], object], argument: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match=argument):
        parsed(define, argument)


def test_images_may_be_repeated_and_are_needed() -> None:
    assert parsed(paths.define_images, "--images=a", "--images", "b c").images == ["a", "b c"]
    for arguments in ([], ["--images="], ["--images=a", "--images="]):
        with pytest.raises(flags.IllegalFlagValueError, match="--images is needed"):
            parsed(paths.define_images, *arguments)


def test_an_encoder_is_needed_where_the_command_cannot_do_without() -> None:
    with pytest.raises(flags.IllegalFlagValueError, match="--encoder is needed"):
        parsed(paths.define_encoder)
    assert parsed(lambda values: paths.define_encoder(values, required=False)).encoder is None
    with pytest.raises(flags.IllegalFlagValueError, match="--index is needed"):
        parsed(paths.define_index, "--index=")


def test_queries_are_a_folder_or_a_data_set() -> None:
    assert parsed(evaluation.define, "--queries=q").ground_truth == "same_name"
    assert parsed(evaluation.define, "--dataset=d").queries is None
    with pytest.raises(flags.IllegalFlagValueError, match="--queries is needed"):
        parsed(evaluation.define)


def test_search_is_for_ten_hits_through_the_graph() -> None:
    values = parsed(search.define)
    assert (values.k, values.exact) == (10, False)
    assert parsed(search.define, "--exact").exact
    assert parsed(paths.define_format).format == "table"


def test_nothing_is_said_of_verification_by_default() -> None:
    """The index knows what suits it."""
    values = parsed(search.define)
    assert (values.verify, values.verifier, values.query_views, values.expand) == (None, "cells", None, 0)
    assert values.reciprocal == 0
    assert search.box(values) is None
    assert parsed(index.define_kept).flag_values_dict() == {"views": None, "local_features": None}


def test_a_box_is_four_numbers_of_pixels() -> None:
    assert search.box(parsed(search.define, "--box=10,20.5,30,40")) == (10, 20.5, 30, 40)


@pytest.mark.parametrize("given", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "0,0,0,10", "0,0,10,-1", "-1,0,10,10", "nan,0,1,1",
                                   "0,0,inf,1", ""])  # fmt: skip
def test_another_box_is_refused(given: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match="--box must be x,y,w,h: four numbers of pixels"):
        parsed(search.define, f"--box={given}")


@pytest.mark.parametrize(("define", "name"), [(search.define, "query_views"), (index.define_kept, "views")])
def test_views_are_read_with_the_flags(define: Callable[[flags.FlagValues], object], name: str) -> None:
    assert getattr(parsed(define, f"--{name}=rotations:8,scales:2"), name) == "rotations:8,scales:2"
    assert getattr(parsed(define, f"--{name}=whole"), name) == "whole"
    for views in ("rotation:8", "rotations:0", "rotations:1000", "rotations", "8"):
        with pytest.raises(flags.IllegalFlagValueError, match=f"--{name}: "):
            parsed(define, f"--{name}={views}")


@pytest.mark.parametrize(
    ("given", "kept"),
    [([], None), (["--local_features=300"], 300), (["--local_features"], LOCAL_FEATURES), (["--nolocal_features"], 0),
     (["--local_features=0"], 0)],
)  # fmt: skip
def test_local_features_are_a_number_or_none(given: list[str], kept: int | None) -> None:
    assert parsed(index.define_kept, *given).local_features == kept


def test_an_index_is_given_something_to_do() -> None:
    for line in ([], ["--images=a"], ["--report"], ["--calibrate"], ["--images=a", "--calibrate"]):
        assert parsed(index.define_images, *line)
    for line in (["--images="], ["--images=", "--calibrate"]):
        with pytest.raises(flags.IllegalFlagValueError, match="--images must be a folder"):
            parsed(index.define_images, *line)


def test_folders_that_have_moved() -> None:
    values = parsed(index.define_images, "--relocate=a/b=c d", "--relocate", "e=f=g")
    assert index.relocations(values) == [("a/b", "c d"), ("e", "f=g")]
    for pair in ("a", "a=", "=b", ""):
        with pytest.raises(flags.IllegalFlagValueError, match="--relocate must be OLD=NEW"):
            parsed(index.define_images, f"--relocate={pair}")
