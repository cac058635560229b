"""Encoder folders from somebody who means harm: each is refused in one line that names the file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny_networks import save_tiny_network

import tfvlad
from tfvlad.errors import ConfigError, TfvladError
from tfvlad.networks.backbones import load_network
from tfvlad.storage.untrusted import read_arrays


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder's folder."""
    folder = tmp_path_factory.mktemp("template")
    network = save_tiny_network(folder / "tiny.keras")
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(6)]
    config = tfvlad.EncoderConfig(
        backbone=network,
        layer="second",
        preprocessing="tf",
        image_size=32,
        resize="stretch",
        power=1.0,
        clusters=4,
        dim=3,
    )
    tfvlad.Encoder.fit(pictures, config).save(folder / "e")
    return folder / "e"


@pytest.fixture
def encoder(template: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "e"
    copy.mkdir()
    for file in template.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def refused(path: Path, reason: str) -> None:
    with pytest.raises(TfvladError) as caught:
        tfvlad.Encoder.load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith((str(path), f"backbone {path}"))
    assert reason in message


def describe(encoder: Path, **changes: Any) -> None:
    file = encoder / "encoder.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def put(encoder: Path, name: str, content: bytes) -> None:
    """Replaces a file and its digest, as somebody who knows the format would."""
    (encoder / name).write_bytes(content)
    digests = json.loads((encoder / "encoder.json").read_text())["sha256"]
    describe(encoder, sha256={**digests, name: hashlib.sha256(content).hexdigest()})


def npz(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(shape: str = "(4, 8)", descr: str = "<f4", data: bytes = bytes(128), version: bytes = b"\1\0") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + len(header).to_bytes(2 if version == b"\1\0" else 4, "little") + header + data


def saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3), np.float32), y=np.asfortranarray(np.eye(2, dtype=np.float32)))
    arrays = read_arrays(str(tmp_path / "a.npz"), {"x": (2, None), "y": (2, 2)})
    np.testing.assert_array_equal(arrays["x"], np.ones((2, 3)))
    np.testing.assert_array_equal(arrays["y"], np.eye(2))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npz(centroids=npy("(4, 250000000000000)")), "has the shape (4, 250000000000000), which is not what the file"),
        (npz(centroids=npy("(4, 0)", data=b"")), "has the shape (4, 0)"),
        (npz(centroids=npy("(4, -8)")), "has the shape (4, -8)"),
        (npz(centroids=npy("(4, 9)")), "has the shape (4, 9), which is not what the file holds"),
        (npz(centroids=npy("(5, 8)")), "must be float32 of shape (4, None)"),
        (npz(centroids=npy("(4, 8, 1)")), "must be float32 of shape (4, None)"),
        (npz(centroids=npy(descr="<f8", data=bytes(256))), "got float64"),
        (npz(centroids=npy(descr="|O")), "got object"),
        (npz(centroids=saved(np.array([{"a": 1}], dtype=object))), "got object"),
        (npz(centroids=npy("(" * 5000)), "damaged"),
        (npz(centroids=npy("__import__('os').getcwd()")), "damaged"),
        (npz(centroids=npy(version=b"\2\0")), "not in version 1.0"),
        (npz(centroids=b"\x93NUMPY\1\0\xff\xff{"), "damaged"),
        (npz(centroids=b""), "damaged"),
        (npz(zipfile.ZIP_DEFLATED, centroids=npy("(4, 1000000)", data=bytes(16_000_000))), "is compressed"),
        (npz(), "must hold centroids and nothing else"),
        (npz(centroids=npy(), more=npy()), "must hold centroids and nothing else"),
        (npz(**{"../centroids": npy()}), "must hold centroids and nothing else"),
        (saved(np.ones((4, 8), np.float32)), "damaged"),
        (b"", "damaged"),
        (npz(centroids=npy())[:100], "damaged"),
        (npz(centroids=npy(data=np.full(32, np.nan, "<f4").tobytes())), "NaN or infinite"),
        (npz(centroids=npy(data=np.full(32, np.inf, "<f4").tobytes())), "NaN or infinite"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,  # a ZIP file holds the time
)
def test_a_crafted_codebook(encoder: Path, content: bytes, reason: str) -> None:
    put(encoder, "codebook.npz", content)
    refused(encoder, reason)


def test_a_member_that_claims_to_be_larger_than_the_file(encoder: Path) -> None:
    content = bytearray(npz(centroids=npy()))
    entry = content.rindex(b"PK\1\2")
    content[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")  # the size in the central directory
    put(encoder, "codebook.npz", bytes(content))
    refused(encoder, "larger than the file")


def test_variances_that_cannot_be(encoder: Path) -> None:
    with np.load(encoder / "whitening.npz") as stored:
        arrays = dict(stored)
    file = io.BytesIO()
    np.savez(file, **{**arrays, "variances": np.array([1, 0, -1], np.float32)})
    put(encoder, "whitening.npz", file.getvalue())
    refused(encoder, "variances must be above 0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "damaged"),
        ('{"format": ' + "1" * 5000 + "}", "damaged"),
        ('{"format": 4}', "format 4 is newer than this tfvlad reads (3); update tfvlad"),
        ('{"format": true}', "it has no format number"),
        ('{"format": 1}', "fingerprint is missing"),
        ("\x00", "damaged"),
        ("[]", "it has no format number"),
    ],
)
def test_a_crafted_description(encoder: Path, text: str, reason: str) -> None:
    (encoder / "encoder.json").write_text(text)
    refused(encoder, reason)


def test_a_description_of_a_gigabyte_is_not_read(encoder: Path) -> None:
    with open(encoder / "encoder.json", "r+b") as file:
        file.truncate(1 << 30)  # a hole: it takes no space
    refused(encoder, "is longer than 1048576 characters")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clusters": 10**15}, "codebook_samples must be at least clusters"),
        ({"clusters": 0}, "clusters must be a positive integer"),
        ({"backbone": ["vgg16"]}, "got ['vgg16']"),
        ({"layer": {"a": 1}}, "layer cannot be"),
        ({"power": "1"}, "damaged: config"),
        ({"intra_norm": 1}, "intra_norm cannot be 1"),
        ({"nonsense": 1}, "damaged: config"),
        ({"shrinkage": -1}, "shrinkage must be 0 or more"),
        ({"shrinkage": "1"}, "damaged: config"),
    ],
)
def test_a_crafted_configuration(encoder: Path, change: dict[str, Any], reason: str) -> None:
    config = json.loads((encoder / "encoder.json").read_text())["config"]
    describe(encoder, config={**config, **change})
    refused(encoder, reason)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "config.pkl", ""])
def test_digests_of_files_that_no_encoder_has(encoder: Path, name: str) -> None:
    digests = json.loads((encoder / "encoder.json").read_text())["sha256"]
    describe(encoder, sha256={**digests, name: "0" * 64})
    refused(encoder, f"lists {name!r}, which no encoder has")


def test_a_network_outside_the_folder_is_not_loaded(encoder: Path, tmp_path: Path) -> None:
    """The configuration names a path, and the file that should be here instead of it is left out."""
    description = json.loads((encoder / "encoder.json").read_text())
    outside = save_tiny_network(tmp_path / "outside.keras")
    del description["sha256"]["backbone.keras"]
    describe(encoder, sha256=description["sha256"], config={**description["config"], "backbone": outside})
    (encoder / "backbone.keras").unlink()
    refused(encoder, "is not a network by name")


@pytest.mark.parametrize("name", ["encoder.json", "codebook.npz", "backbone.keras"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_and_pipes_in_an_encoder(encoder: Path, tmp_path: Path, name: str, kind: str) -> None:
    (encoder / name).rename(tmp_path / "moved")
    if kind == "link":
        (encoder / name).symlink_to(tmp_path / "moved")
    else:
        os.mkfifo(encoder / name)
    refused(encoder, f"{name}: is a link, or no regular file")


def edit_network(network: Path, layer_config: Callable[[dict[str, Any]], None]) -> bytes:
    """The `.keras` file with its layer ``first`` described differently."""
    with zipfile.ZipFile(network) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    [layer] = [layer for layer in config["config"]["layers"] if layer["name"] == "first"]
    layer_config(layer)
    members["config.json"] = json.dumps(config).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def as_command(trace: Path) -> Callable[[dict[str, Any]], None]:
    def edit(layer: dict[str, Any]) -> None:
        layer.update(
            module="subprocess", class_name="Popen", registered_name=None, config={"args": ["touch", str(trace)]}
        )

    return edit


def as_function(trace: Path) -> Callable[[dict[str, Any]], None]:
    def edit(layer: dict[str, Any]) -> None:
        layer["config"]["activation"] = {
            "module": "os",
            "class_name": "function",
            "config": "mkdir",
            "registered_name": "mkdir",
        }

    return edit


def as_lambda(trace: Path) -> Callable[[dict[str, Any]], None]:
    def edit(layer: dict[str, Any]) -> None:
        import keras
        from keras.src.utils import python_utils

        code = python_utils.func_dump(eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]"))
        function = {"class_name": "__lambda__", "config": {"code": code[0], "defaults": None, "closure": None}}
        config = keras.layers.Lambda(abs, name="first").get_config() | {"function": function}
        layer.update(module="keras.layers", class_name="Lambda", registered_name=None, config=config)

    return edit


@pytest.mark.parametrize("trick", [as_command, as_function, as_lambda])
def test_a_network_with_code_in_it_is_refused_and_the_code_not_run(
    encoder: Path, tmp_path: Path, trick: Callable[[Path], Callable[[dict[str, Any]], None]]
) -> None:
    trace = tmp_path / "executed"
    put(encoder, "backbone.keras", edit_network(encoder / "backbone.keras", trick(trace)))
    refused(encoder, "not a model that Keras can load")
    assert not trace.exists()


def test_a_network_of_an_absurd_size(encoder: Path) -> None:
    content = edit_network(encoder / "backbone.keras", lambda layer: layer["config"].update(filters=10**15))
    put(encoder, "backbone.keras", content)
    refused(encoder, "not a model that Keras can load")


def test_a_network_that_is_compressed_or_no_network(encoder: Path, tmp_path: Path) -> None:
    put(encoder, "backbone.keras", npz(zipfile.ZIP_DEFLATED, bomb=bytes(10_000_000)))
    refused(encoder, "not a model that Keras can load")
    (tmp_path / "text.keras").write_text("no network")
    with pytest.raises(ConfigError, match="not a model that Keras can load"):
        load_network(str(tmp_path / "text.keras"), "imagenet")
