"""The encoder from photographs to descriptors, with a tiny network; and its folder."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import reference
from helpers.tiny_networks import save_tiny_network
from PIL import Image

import tfvlad
from tfvlad.errors import ArtifactError, ConfigError, ImageError, MismatchError
from tfvlad.images.loading import ImageLoader


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty small photographs of different sizes."""
    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for number in range(20):
        coarse = Image.fromarray(generator.integers(0, 255, (6, 8, 3), np.uint8))
        size = (96, 64) if number % 3 else (64, 96)
        coarse.resize(size, Image.Resampling.BICUBIC).save(root / f"{number:02}.jpg", quality=92)
    return root


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> tfvlad.EncoderConfig:
    network = save_tiny_network(tmp_path_factory.mktemp("network") / "tiny.keras")
    return tfvlad.EncoderConfig(
        backbone=network,
        layer="second",
        preprocessing="tf",
        image_size=64,
        resize="stretch",
        power=1.0,
        clusters=4,
        dim=6,
        codebook_samples=500,
    )


@pytest.fixture(scope="module")
def encoder(folder: Path, config: tfvlad.EncoderConfig) -> tfvlad.Encoder:
    return tfvlad.Encoder.fit(folder, config, seed=0)


def test_descriptors_are_the_definition_step_by_step(encoder: tfvlad.Encoder, folder: Path) -> None:
    path = folder / "00.jpg"
    image = np.asarray(ImageLoader(64, "stretch", "tf").load(path))[np.newaxis]
    cells = np.asarray(encoder.backbone.model(image))[0].reshape(-1, 8)
    features = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(encoder.local_features(path), features.reshape(8, 8, 8), atol=1e-5)
    vlad = reference.vlad(features, encoder.codebook, True, 1.0)
    assert encoder.whitening is not None
    white = encoder.whitening.components @ (vlad - encoder.whitening.mean) / np.sqrt(encoder.whitening.variances)
    np.testing.assert_allclose(encoder.encode(path)[0], white / np.linalg.norm(white), atol=1e-4)


def test_paths_bytes_arrays_and_generators_agree(encoder: tfvlad.Encoder, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    descriptors = encoder.encode(folder / path for path in paths)
    assert (descriptors.shape, descriptors.dtype) == ((20, 6), np.float32)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode([path.read_bytes() for path in paths]), descriptors, atol=1e-5)
    png = io.BytesIO()
    Image.open(paths[3]).save(png, "PNG")
    pixels = np.asarray(Image.open(io.BytesIO(png.getvalue())))
    np.testing.assert_allclose(encoder.encode(pixels), encoder.encode(png.getvalue()), atol=1e-5)
    mixed = encoder.encode([str(paths[0]), paths[1].read_bytes(), pixels])
    np.testing.assert_allclose(mixed[:2], descriptors[:2], atol=1e-5)
    assert encoder.encode([]).shape == (0, 6)


def test_the_model_gives_what_the_kernels_give(encoder: tfvlad.Encoder, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    loader = ImageLoader(64, "stretch", "tf")
    in_graph = np.asarray(encoder.model()(np.stack([loader.load(path) for path in paths])))
    assert (in_graph * encoder.encode(paths)).sum(axis=1).min() > 0.99999


def test_aspect_ratio_is_kept_and_order_with_it(folder: Path, config: tfvlad.EncoderConfig) -> None:
    import dataclasses

    fitted = tfvlad.Encoder.fit(folder, dataclasses.replace(config, resize="fit"), seed=0)
    paths = sorted(folder.iterdir())
    together = fitted.encode(paths)  # two shapes, alternating
    one_by_one = np.concatenate([fitted.encode(path) for path in paths])
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)
    assert fitted.local_features(paths[0]).shape == (8, 6, 8)  # 64 x 96 pixels made 43 x 64: /8, rounded up
    assert fitted.local_features(paths[1]).shape == (6, 8, 8)


def test_a_bad_image_is_a_value_in_the_stream_and_an_error_in_encode(encoder: tfvlad.Encoder, folder: Path) -> None:
    sources = [folder / "00.jpg", b"no picture", folder / "nowhere.jpg", folder / "01.jpg"]
    rows = list(encoder.encode_stream(sources))
    assert [isinstance(row, ImageError) for row in rows] == [False, True, True, False]
    assert str(rows[2]).endswith("nowhere.jpg: No such file or directory")
    with pytest.raises(ImageError, match="not an image in a known format"):
        encoder.encode(sources)


def test_a_stream_reads_only_a_little_ahead_and_can_be_left(encoder: tfvlad.Encoder, folder: Path) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield folder / "00.jpg"

    stream = encoder.encode_stream(endless())
    first = next(stream)
    assert isinstance(first, np.ndarray)
    assert taken <= 256
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tfvlad-decode")]


def test_seeds_reproduce_and_settings_show_in_the_fingerprint(
    encoder: tfvlad.Encoder, folder: Path, config: tfvlad.EncoderConfig
) -> None:
    import dataclasses

    assert tfvlad.Encoder.fit(folder, config, seed=0).fingerprint == encoder.fingerprint
    assert tfvlad.Encoder.fit(folder, config, seed=1).fingerprint != encoder.fingerprint
    for change in ({"layer": "first"}, {"power": 0.5}, {"intra_norm": False}, {"image_size": 48}, {"dim": None}):
        other = dataclasses.replace(config, **change)  # type: ignore[arg-type]
        assert tfvlad.Encoder.fit(folder, other, seed=0).fingerprint != encoder.fingerprint


def test_without_whitening_the_whole_vlad_is_the_descriptor(folder: Path, config: tfvlad.EncoderConfig) -> None:
    import dataclasses

    whole = tfvlad.Encoder.fit(folder, dataclasses.replace(config, dim=None), seed=0)
    assert whole.dim == 32  # 4 clusters of 8 channels
    np.testing.assert_allclose(np.linalg.norm(whole.encode(folder / "00.jpg")), 1, atol=1e-6)


def test_shrinkage_is_fitted_kept_and_absent_from_older_folders(
    folder: Path, config: tfvlad.EncoderConfig, encoder: tfvlad.Encoder, tmp_path: Path
) -> None:
    import dataclasses

    assert encoder.whitening is not None
    plain = tfvlad.Encoder.fit(folder, dataclasses.replace(config, shrinkage=0.0), seed=0)
    assert plain.whitening is not None
    raised = plain.whitening.variances + 0.3 * plain.whitening.variances.mean()
    np.testing.assert_allclose(encoder.whitening.variances, raised, rtol=1e-5)
    for fitted, format_ in ((encoder, 3), (plain, 1)):
        fitted.save(tmp_path / "e")
        stored = json.loads((tmp_path / "e" / "encoder.json").read_text())
        assert (stored["format"], "shrinkage" in stored["config"]) == (format_, format_ == 3)
        loaded = tfvlad.Encoder.load(tmp_path / "e")
        assert (loaded.config, loaded.fingerprint) == (fitted.config, fitted.fingerprint)
    rewrite(tmp_path / "e", config={**stored["config"], "shrinkage": 0.3})
    with pytest.raises(ArtifactError, match="damaged: config: format 1 has no shrinkage"):
        tfvlad.Encoder.load(tmp_path / "e")


def test_too_few_images_are_refused_before_the_work(folder: Path, config: tfvlad.EncoderConfig) -> None:
    paths = sorted(folder.iterdir())[:5]
    with pytest.raises(ConfigError, match=r"dim=6 is too large: 5 images .* give 4 at most"):
        tfvlad.Encoder.fit(paths, config)
    with pytest.raises(ConfigError, match="there are no images to fit on"):
        tfvlad.Encoder.fit([], config)
    with pytest.raises(ConfigError, match="is not a folder"):
        tfvlad.Encoder.fit("nowhere", config)


def test_broken_images_are_left_out_of_the_fit_and_told_once(folder: Path, config: tfvlad.EncoderConfig) -> None:
    sources = [*sorted(folder.iterdir()), b"broken"]
    with pytest.raises(ImageError):
        tfvlad.Encoder.fit(sources, config)
    errors: list[ImageError] = []
    fitted = tfvlad.Encoder.fit(sources, config, on_error=errors.append)
    assert [error.reason for error in errors] == ["not an image in a known format"]
    assert fitted.dim == 6


def test_an_image_too_small_for_the_layer_is_named(tmp_path: Path, folder: Path) -> None:
    import keras

    inputs = keras.Input((None, None, 3))
    path = str(tmp_path / "valid.keras")
    keras.Model(inputs, keras.layers.Conv2D(4, 9, strides=4, name="wide")(inputs)).save(path)
    config = tfvlad.EncoderConfig(
        backbone=path, layer="wide", preprocessing="tf", image_size=32, resize="fit", clusters=2, dim=None
    )
    fitted = tfvlad.Encoder.fit(folder, config)
    sliver = np.zeros((4, 400, 3), np.uint8)
    with pytest.raises(ImageError, match="<array>: 32x1 pixels are too few for this layer"):
        fitted.encode(sliver)


def test_a_saved_encoder_is_the_same_encoder(encoder: tfvlad.Encoder, folder: Path, tmp_path: Path) -> None:
    encoder.save(tmp_path / "saved.encoder")
    loaded = tfvlad.Encoder.load(tmp_path / "saved.encoder")
    assert (loaded.fingerprint, loaded.config, loaded.dim) == (encoder.fingerprint, encoder.config, encoder.dim)
    np.testing.assert_array_equal(loaded.encode(folder / "04.jpg"), encoder.encode(folder / "04.jpg"))
    names = sorted(path.name for path in (tmp_path / "saved.encoder").iterdir())
    assert names == ["backbone.keras", "codebook.npz", "encoder.json", "whitening.npz"]
    assert [path.name for path in tmp_path.iterdir()] == ["saved.encoder"]  # no temporary left beside it
    loaded.save(tmp_path / "saved.encoder")  # over itself
    assert tfvlad.Encoder.load(tmp_path / "saved.encoder").fingerprint == encoder.fingerprint


@pytest.fixture
def saved(encoder: tfvlad.Encoder, tmp_path: Path) -> Path:
    encoder.save(tmp_path / "e")
    return tmp_path / "e"


def rewrite(saved: Path, **changes: object) -> None:
    description = json.loads((saved / "encoder.json").read_text())
    (saved / "encoder.json").write_text(json.dumps({**description, **changes}))


def test_other_things_are_not_overwritten(encoder: tfvlad.Encoder, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    for path in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(ArtifactError, match="exists and is not an encoder"):
            encoder.save(path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("name", ["codebook.npz", "whitening.npz", "backbone.keras"])
def test_a_changed_file_is_refused(saved: Path, name: str) -> None:
    data = bytearray((saved / name).read_bytes())
    data[len(data) // 2] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name}: damaged: its SHA-256 is not the one"):
        tfvlad.Encoder.load(saved)
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: missing"):
        tfvlad.Encoder.load(saved)


def test_newer_formats_and_what_is_no_encoder_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere: not an encoder folder"):
        tfvlad.Encoder.load(tmp_path / "nowhere")
    rewrite(saved, format=99)
    with pytest.raises(ArtifactError, match=r"e: format 99 is newer than this tfvlad reads \(3\)"):
        tfvlad.Encoder.load(saved)
    (saved / "encoder.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"encoder.json: damaged"):
        tfvlad.Encoder.load(saved)


def test_wrong_shapes_and_nan_are_refused(saved: Path, encoder: tfvlad.Encoder) -> None:
    import hashlib

    description = json.loads((saved / "encoder.json").read_text())
    for centroids, reason in (
        (np.zeros((9, 8), np.float32), r"centroids must be float32 of shape \(4, None\), got float32 \(9, 8\)"),
        (np.zeros((4, 8)), "got float64"),
        (np.full((4, 8), np.nan, np.float32), "holds NaN"),
    ):
        np.savez(saved / "codebook.npz", centroids=centroids)
        digest = hashlib.sha256((saved / "codebook.npz").read_bytes()).hexdigest()
        rewrite(saved, sha256={**description["sha256"], "codebook.npz": digest})
        with pytest.raises(ArtifactError, match=reason):
            tfvlad.Encoder.load(saved)


def test_an_encoder_whose_parts_do_not_give_its_fingerprint_is_refused(saved: Path) -> None:
    rewrite(saved, fingerprint="0" * 64)
    with pytest.raises(MismatchError, match="would give other descriptors"):
        tfvlad.Encoder.load(saved)


def test_a_fit_depends_on_the_images_and_not_on_their_names(
    folder: Path, config: tfvlad.EncoderConfig, encoder: tfvlad.Encoder, tmp_path: Path
) -> None:
    paths = sorted(folder.iterdir())
    for number, path in enumerate(np.random.default_rng(1).permutation(paths)):
        (tmp_path / f"renamed-{number:02}.jpg").write_bytes(path.read_bytes())
    sampled = dataclasses.replace(config, codebook_samples=200, whitening_samples=12)  # not of all images
    renamed = tfvlad.Encoder.fit(tmp_path, sampled, seed=0)
    in_another_order = tfvlad.Encoder.fit(paths[::-1], sampled, seed=0)
    in_memory = tfvlad.Encoder.fit([path.read_bytes() for path in paths], sampled, seed=0)
    assert renamed.fingerprint == in_another_order.fingerprint == in_memory.fingerprint
    assert renamed.fingerprint != encoder.fingerprint  # which was fitted on more


@pytest.mark.parametrize("one_dnn", ["0", "1"])
def test_a_stored_encoder_is_the_same_whatever_computes_it(
    encoder: tfvlad.Encoder, folder: Path, tmp_path: Path, one_dnn: str
) -> None:
    encoder.save(tmp_path / "encoder")
    program = (
        "import sys, numpy as np, tfvlad; encoder = tfvlad.Encoder.load(sys.argv[1]); "
        "np.save(sys.argv[3], encoder.encode(sys.argv[2])); print(encoder.fingerprint)"
    )
    image, rows = folder / "00.jpg", tmp_path / "rows.npy"
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "encoder", image, rows],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": one_dnn},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == encoder.fingerprint
    assert float(np.load(rows)[0] @ encoder.encode(image)[0]) >= 0.99999


@pytest.mark.parametrize(("different", "dim"), [(1, 32), (4, 32), (8, 6), (6, 5)])
def test_copies_leave_fewer_dimensions_or_the_whole_vector(
    folder: Path, config: tfvlad.EncoderConfig, different: int, dim: int
) -> None:
    images = sorted(folder.iterdir())[:different] * 8
    assert tfvlad.Encoder.fit(images, config, fewer_dims=True).dim == dim
