"""The exported model: what it answers, by itself and the way TensorFlow Serving runs it; and its folder."""

from __future__ import annotations

import dataclasses
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from helpers import image_formats
from helpers.damaged_images import KINDS, damage, whole_images
from helpers.exports import Exported, ExportWith, drawn_photographs, png
from PIL import Image

import tfvlad
from tfvlad.errors import ArtifactError, ConfigError
from tfvlad.serving import saved_model as export
from tfvlad.serving._signatures import Served, _most

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    return drawn_photographs()


@pytest.fixture(params=["stretch", "fit"])
def exported(request: pytest.FixtureRequest, export_with: ExportWith) -> Exported:
    return export_with(request.param)


@pytest.fixture
def stretched(export_with: ExportWith) -> Exported:
    return export_with("stretch")


def all_kinds(photographs: list[Image.Image]) -> list[bytes]:
    return [save(photographs[n]) for n, save in enumerate(image_formats.KINDS.values())]


@pytest.mark.parametrize("kind", image_formats.KINDS)
def test_bytes_give_what_the_file_gives(
    exported: Exported, photographs: list[Image.Image], kind: str, tmp_path: Path
) -> None:
    paths = [tmp_path / str(n) for n in range(3)]
    for path, photograph in zip(paths, photographs, strict=False):
        path.write_bytes(image_formats.KINDS[kind](photograph))
    descriptors, valid = exported.describe(*(path.read_bytes() for path in paths))
    assert valid == [True] * 3
    assert (descriptors * exported.encoder.encode(paths)).sum(axis=1).min() >= 0.9999


def test_more_images_than_one_forward_pass_takes_keep_their_rows(
    exported: Exported, photographs: list[Image.Image]
) -> None:
    files = all_kinds(photographs) * 5  # 45, of all sizes; a pass takes 32 at most
    files[7] = b"broken"
    descriptors, valid = exported.describe(*files)
    assert valid == [row != 7 for row in range(45)]
    expected = exported.encoder.encode([file for file in files if file != b"broken"])
    assert (np.delete(descriptors, 7, axis=0) * expected).sum(axis=1).min() >= 0.9999
    assert not descriptors[7].any()


def test_broken_images_do_not_touch_their_neighbours(exported: Exported, photographs: list[Image.Image]) -> None:
    good = all_kinds(photographs)[0]
    heads = [b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM", b"GIF8"]
    broken = [b"", b"no picture", good[: len(good) // 2], good[:4], *heads]
    descriptors, valid = exported.describe(broken[0], good, *broken[1:])
    assert valid == [False, True] + [False] * 7
    np.testing.assert_allclose(descriptors[1], exported.encoder.encode(good)[0], atol=1e-5)
    assert not np.delete(descriptors, 1, axis=0).any()
    assert exported.describe(*broken)[1] == [False] * 8
    assert exported.describe()[0].shape == (0, 6)


def test_pixels_give_what_the_encoder_gives(exported: Exported) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (35, 80, 100, 3), np.uint8)
    descriptors = exported.signatures["images"](images=pixels)["descriptor"].numpy()
    assert (descriptors * exported.encoder.encode(pixels)).sum(axis=1).min() >= 0.9999
    assert exported.signatures["images"](images=pixels[:0])["descriptor"].shape == (0, 6)


def test_damaged_files_in_one_request_are_what_they_are_alone(stretched: Exported) -> None:
    generator, sound = random.Random(3), list(whole_images().values())
    files = [*sound, *(damage(generator.choice(sound), kind, generator, sound) for kind in KINDS * 10)]
    descriptors, valid = stretched.describe(*files)
    rows = list(stretched.encoder.encode_stream(files))
    assert valid == [not isinstance(row, tfvlad.ImageError) for row in rows]
    assert 20 < sum(valid) < len(files) - 20  # of both there are many
    for descriptor, row in zip(descriptors, rows, strict=True):
        if isinstance(row, tfvlad.ImageError):
            assert not descriptor.any()
        else:
            assert (descriptor * row).sum() >= 0.9999


def test_local_features_are_those_of_each_image(exported: Exported, photographs: list[Image.Image]) -> None:
    files = [*all_kinds(photographs)[:3], b"broken"]
    told = exported.signatures["local_features"](image_bytes=tf.constant(files))
    expected = [exported.encoder.local_features(file) for file in files[:3]]
    assert told["grid"].numpy().tolist() == [*(list(features.shape[:2]) for features in expected), [0, 0]]
    assert told["features"].shape == (4, *np.max([features.shape for features in expected], axis=0))
    for features, its_own in zip(told["features"].numpy(), expected, strict=False):
        height, width = its_own.shape[:2]
        np.testing.assert_allclose(features[:height, :width], its_own, atol=1e-5)
        assert not features[height:].any()
        assert not features[:, width:].any()
    assert not told["features"].numpy()[3].any()
    descriptors, valid = exported.describe(*files)
    np.testing.assert_allclose(told["descriptor"].numpy(), descriptors, atol=1e-5)
    assert told["valid"].numpy().tolist() == valid == [True, True, True, False]
    assert set(told["fingerprint"].numpy().tolist()) == {exported.encoder.fingerprint.encode()}
    for broken in (b"broken", all_kinds(photographs)[0][:30]):
        nothing = exported.signatures["local_features"](image_bytes=tf.constant([broken]))
        assert nothing["features"].shape == (1, 0, 0, 8)


def test_a_request_of_too_many_images_fails_and_says_so(stretched: Exported) -> None:
    told = json.loads((stretched.path / "assets.extra" / "tfvlad.json").read_text())
    assert told["most"] == dict.fromkeys(stretched.signatures, 1024)
    for name, text in told["signatures"].items():
        assert text.endswith("; n is 1024 at most")
        argument = "images" if name == "images" else "probe" if name == "info" else "image_bytes"
        row = tf.zeros((1, 1, 1, 3), tf.uint8) if name == "images" else tf.constant([""])
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"may have 1024 rows at most; these are\] \[1025\]"):
            stretched.signatures[name](**{argument: tf.repeat(row, 1025, axis=0)})


def test_half_a_gigabyte_bounds_the_local_features_of_a_request() -> None:
    assert [_most(values) for values in (6, 32 * 32 * 512, 56 * 56 * 512, 128 * 128 * 512)] == [1024, 256, 83, 16]


def test_nothing_is_done_for_files_that_are_no_images(stretched: Exported, photographs: list[Image.Image]) -> None:
    """A thousand of them took 0.36 s when each was given to the decoders."""
    good = all_kinds(photographs)[0]
    files = [b""] * 500 + [good] + [b"no picture"] * 500
    for name in ("serving_default", "local_features"):
        ask = stretched.signatures[name]
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            told = ask(image_bytes=tf.constant(files))
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.1
        assert np.flatnonzero(told["valid"]).tolist() == [500]
        np.testing.assert_allclose(told["descriptor"][500], stretched.encoder.encode(good)[0], atol=1e-5)
    assert told["features"].shape == (1001, 8, 8, 8)
    assert np.flatnonzero(told["grid"].numpy().any(axis=1)).tolist() == [500]
    np.testing.assert_allclose(told["features"][500], stretched.encoder.local_features(good), atol=1e-5)
    assert not np.delete(told["features"].numpy(), 500, axis=0).any()


def test_images_without_pixels_are_refused(stretched: Exported) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="non-zero size"):
        stretched.signatures["images"](images=tf.zeros((2, 0, 5, 3), tf.uint8))


@pytest.mark.parametrize("factor", [1e38, 0.0])
def test_what_overflows_or_vanishes_is_not_valid(
    stretched: Exported, photographs: list[Image.Image], factor: float
) -> None:
    encoder = stretched.encoder
    whitening = encoder.whitening
    assert whitening is not None
    changed = dataclasses.replace(whitening, components=whitening.components * np.float32(factor))
    functions = Served(
        tfvlad.Encoder(encoder.config, encoder.backbone, encoder.aggregation, changed), "label", "name"
    ).functions
    told = functions["local_features"](tf.constant([all_kinds(photographs)[0]]))
    assert told["valid"].numpy().tolist() == [False]
    assert not told["descriptor"].numpy().any()
    assert told["grid"].numpy().tolist() == [[0, 0]]
    assert told["features"].shape == (1, 0, 0, 8)


def test_an_image_too_small_for_the_layer_is_not_valid(export_with: ExportWith) -> None:
    exported = export_with("fit")  # its window is 9 high and 5 wide
    sizes = {(64, 9): True, (64, 8): False, (5, 64): True, (4, 64): False}  # (width, height)
    files = [png(Image.new("RGB", size, "red")) for size in sizes]
    assert exported.describe(*files)[1] == list(sizes.values())
    for row, usable in zip(exported.encoder.encode_stream(files), sizes.values(), strict=True):
        assert isinstance(row, tfvlad.ImageError) is not usable


@pytest.fixture
def files(photographs: list[Image.Image], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.image" for n in range(10)]
    for path, content in zip(paths, [*all_kinds(photographs), b"broken"], strict=True):
        path.write_bytes(content)
    return paths


def run_python(*arguments: object) -> Any:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_it_loads_with_tensorflow_alone(stretched: Exported, files: list[Path]) -> None:
    told = run_python(HELPERS / "tensorflow_alone.py", stretched.path, *files)
    assert told["valid"] == [True] * 9 + [False]
    assert told["fingerprint"] == stretched.encoder.fingerprint
    np.testing.assert_allclose(told["descriptor"][:9], stretched.encoder.encode(files[:9]), atol=1e-4)


def test_it_runs_through_the_c_api(stretched: Exported, files: list[Path]) -> None:
    library = Path(tf.__file__).with_name("libtensorflow_cc.so.2")
    if not library.exists():
        pytest.skip(f"TensorFlow's C API is not at {library}")
    signature = stored(stretched.path).signature_def["serving_default"]
    tensors = signature.inputs["image_bytes"].name, signature.outputs["descriptor"].name
    rows = run_python(HELPERS / "tensorflow_c_api.py", library, stretched.path, *tensors, stretched.encoder.dim, *files)
    np.testing.assert_allclose(rows[:9], stretched.encoder.encode(files[:9]), atol=1e-4)
    assert not any(rows[9])


def stored(path: Path) -> Any:
    """The MetaGraphDef of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]


def test_the_warm_up_requests_are_those_of_tensorflow_serving(stretched: Exported) -> None:
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api")
    records = tf.data.TFRecordDataset(str(stretched.path / "assets.extra" / "tf_serving_warmup_requests"))
    asked = []
    for record in records.as_numpy_iterator():
        log = apis.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "covers"
        ((name, value),) = request.inputs.items()
        asked.append((request.model_spec.signature_name, name, len(tf.make_ndarray(value))))
        told = stretched.signatures[asked[-1][0]](**{name: tf.constant(tf.make_ndarray(value))})
        assert "valid" not in told or told["valid"].numpy().all()
    of_bytes = [(name, "image_bytes", n) for name in ("serving_default", own_name(stretched)) for n in (1, 32)]
    others = [("local_features", "image_bytes", 1), ("images", "images", 1), ("info", "probe", 1)]
    assert sorted(asked) == sorted([*of_bytes, *others])


def own_name(exported: Exported) -> str:
    return f"tiny_second_64px_{exported.encoder.config.resize}_6d_{exported.encoder.fingerprint[:12]}"


def test_it_tells_what_it_is(stretched: Exported) -> None:
    told = json.loads((stretched.path / "assets.extra" / "tfvlad.json").read_text())
    encoder = stretched.encoder
    assert (told["fingerprint"], told["dim"], told["image_size"]) == (encoder.fingerprint, 6, 64)
    assert set(told["signatures"]) == set(stretched.signatures)
    answer = stretched.signatures["info"](probe=tf.constant(["", ""]))
    assert answer["fingerprint"].numpy().tolist() == [encoder.fingerprint.encode()] * 2
    assert answer["dim"].numpy().tolist() == [6, 6]
    assert answer["label"].numpy().tolist() == [told["label"].encode()] * 2
    assert answer["signature"].numpy().tolist() == [own_name(stretched).encode()] * 2
    assert own_name(stretched) == f"{told['label']}_{encoder.fingerprint[:12]}"


def test_the_signature_of_this_encoder_alone_gives_the_same(
    stretched: Exported, photographs: list[Image.Image]
) -> None:
    files = [*all_kinds(photographs), b"broken"]
    told = stretched.signatures[own_name(stretched)](image_bytes=tf.constant(files))
    np.testing.assert_array_equal(told["descriptor"], stretched.describe(*files)[0])
    assert told["valid"].numpy().tolist() == [True] * 9 + [False]


def test_the_tensorflow_graph_can_be_compiled(stretched: Exported, tmp_path: Path) -> None:
    path = export.saved_model(stretched.encoder, tmp_path / "compiled", xla=True)
    library = stored(Path(path)).graph_def.library.function
    assert any("_XlaMustCompile" in function.attr and function.attr["_XlaMustCompile"].b for function in library)
    photograph = image_formats.KINDS["jpeg"](drawn_photographs()[0])
    told = tf.saved_model.load(path).signatures["serving_default"](image_bytes=tf.constant([photograph, b"broken"]))
    np.testing.assert_allclose(told["descriptor"][0], stretched.encoder.encode(photograph)[0], atol=1e-5)
    assert told["valid"].numpy().tolist() == [True, False]


def test_the_signatures_tell_types_and_shapes(stretched: Exported) -> None:
    """What `saved_model_cli show` prints."""
    signatures = stored(stretched.path).signature_def
    own = own_name(stretched)
    assert {"serving_default", "images", "local_features", "info", own} == set(signatures) - {"__saved_model_init_op"}
    for name in ("serving_default", own):
        assert told_of(signatures[name].inputs) == {"image_bytes": (tf.string, [None])}
        assert told_of(signatures[name].outputs) == {"descriptor": (tf.float32, [None, 6]), "valid": (tf.bool, [None])}
    assert told_of(signatures["images"].inputs) == {"images": (tf.uint8, [None, None, None, 3])}
    assert told_of(signatures["local_features"].outputs)["features"] == (tf.float32, [None, None, None, 8])


def told_of(tensors: Any) -> dict[str, tuple[tf.DType, list[int | None]]]:
    return {
        name: (tf.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape).as_list()) for name, info in tensors.items()
    }


def test_a_version_is_never_overwritten(stretched: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.saved_model, "save", lambda served, folder, functions: Path(folder, "model").touch())
    model = tmp_path / "made" / "covers"
    assert export.saved_model(stretched.encoder, model, 7) == str(model / "7")
    (model / "notes").mkdir()  # what is no number is no version
    assert export.saved_model(stretched.encoder, model) == str(model / "8")
    with pytest.raises(ArtifactError, match=r"covers/7: exists already; versions are not overwritten"):
        export.saved_model(stretched.encoder, model, 7)
    with pytest.raises(ConfigError, match="version must be 1 or more, got 0"):
        export.saved_model(stretched.encoder, model, 0)
    with pytest.raises(ArtifactError, match="is a file; give the folder"):
        export.saved_model(stretched.encoder, model / "8" / "model")
    assert sorted(path.name for path in model.iterdir()) == ["7", "8", "notes"]


def test_a_version_appears_whole_or_not_at_all(
    stretched: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "covers"

    def fail(served: object, folder: str, functions: object) -> None:
        Path(folder, "model").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        export.saved_model(stretched.encoder, model)
    assert list(model.iterdir()) == []

    def overtaken(served: object, folder: str, functions: object) -> None:
        (model / "1").mkdir()
        (model / "1" / "theirs").touch()

    monkeypatch.setattr(tf.saved_model, "save", overtaken)
    with pytest.raises(ArtifactError, match="appeared while it was being written"):
        export.saved_model(stretched.encoder, model)
    assert [path.name for path in model.rglob("*")] == ["1", "theirs"]
