"""Published weights of GoogLeNet in Keras: the same responses as a slow forward pass, and OpenCV's, of the files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from helpers import published_googlenet as published
from hypothesis import given, settings
from hypothesis import strategies as st

from tfvlad.errors import WeightsError
from tfvlad.networks._caffemodel import read_caffemodel
from tfvlad.networks._torch_file import read_torch_file
from tfvlad.networks.googlenet import GoogLeNet
from tfvlad.networks.googlenet_weights import convert_weights

SIZES = [(31, 45), (64, 96), (97, 66)]  # sides of images; the last pooling meets 2 and 2, 4 and 6, 6 and 4 cells

Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def caffe() -> Arrays:
    return published.draw_caffe()


@pytest.fixture(scope="module")
def torchvision() -> Arrays:
    return published.draw_torchvision()


def converted(folder: Path, content: bytes) -> tuple[Any, Any]:
    """The network with the weights of a file, by way of Keras' own, and what is told of them."""
    source, output = folder / "published", folder / "googlenet.weights.h5"
    source.write_bytes(content)
    told = convert_weights(str(source), str(output))
    network = GoogLeNet(include_top=False)
    network.load_weights(output)
    assert told.sha256 == hashlib.sha256(content).hexdigest()
    return network, told


def assert_same(network: Any, forward: Callable[[Any, Any], Arrays], weights: Any, sizes: Any = SIZES) -> None:
    """Checks the maps of all convolutions, poolings, normalisations and modules on images of several sizes."""
    for size in sizes:
        image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
        expected = forward(weights, image)
        del expected["data"]
        names = [name.replace("/output", "").replace("/", "_") for name in expected]
        parts = keras.Model(network.inputs[0], [network.get_layer(name).output for name in names])
        for name, ours, theirs in zip(names, parts(image[None].astype(np.float32)), expected.values(), strict=True):
            np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=5e-5 * theirs.max(), err_msg=f"{name} {size}")
        assert all(responses.std() > 0.1 for responses in expected.values())


def test_caffes_file_gives_caffes_responses(caffe: Arrays, tmp_path: Path) -> None:
    network, told = converted(tmp_path, published.caffemodel(caffe, old=True))
    assert told.trained_with == "Caffe"
    assert_same(network, published.caffe_forward, caffe)
    classifiers = {
        "loss1/conv": [np.ones((128, 512, 1, 1))],
        "loss3/classifier": [np.ones((1000, 1024)), np.ones(1000)],
    }
    _, again = converted(tmp_path, published.caffemodel(caffe | classifiers))
    assert again.digest == told.digest


@pytest.mark.parametrize("old", [True, False])
def test_opencv_reads_the_same_from_caffes_file(caffe: Arrays, tmp_path: Path, old: bool) -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 does not read Caffe's files")

    def forward(content: bytes, image: Any) -> Arrays:
        names = ["pool1/norm1", "conv2/norm2", "pool2/3x3_s2", "pool3/3x3_s2", "pool4/3x3_s2"]
        names += [f"inception_{module}/output" for module in published.MODULES]
        description = published.prototxt(*image.shape[:2]).encode()
        net = cv2.dnn.readNetFromCaffe(np.frombuffer(description, np.uint8), np.frombuffer(content, np.uint8))
        seen = image[..., ::-1].astype(np.float32) - np.array((104, 117, 123), np.float32)
        net.setInput(seen.transpose(2, 0, 1)[None])
        return {"data": None} | {
            name: responses[0].transpose(1, 2, 0) for name, responses in zip(names, net.forward(names), strict=True)
        }

    content = published.caffemodel(caffe, old)
    network, _ = converted(tmp_path, content)
    assert_same(network, forward, content, [(50, 75), (97, 66)])  # OpenCV pools no map of two rows by windows of three


def test_torchvisions_file_gives_torchvisions_responses(torchvision: Arrays, tmp_path: Path) -> None:
    network, told = converted(tmp_path, published.torch_old(torchvision))
    assert told.trained_with == "torchvision"
    assert_same(network, published.torchvision_forward, torchvision)
    assert converted(tmp_path, published.torch_zip(torchvision))[1].digest == told.digest


def test_torchvision_counts_as_many_parameters(torchvision: Arrays) -> None:
    counted = (".conv.weight", ".bn.weight", ".bn.bias", "fc.weight", "fc.bias")
    taken = [array.size for name, array in torchvision.items() if name.endswith(counted) and "aux" not in name]
    assert sum(taken) == 6_624_904  # ``num_params`` of torchvision's GoogLeNet_Weights.IMAGENET1K_V1


def without(arrays: Arrays, name: str) -> Arrays:
    return {key: array for key, array in arrays.items() if key != name}


NAN = np.full(64, np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda blobs: without(blobs, "inception_4d/5x5"),
            r"blob 0 of inception_4d/5x5 of shape \(64, 32, 5, 5\) is mi",
        ),
        (
            lambda blobs: blobs | {"conv2/3x3": (np.ones((192, 64, 1, 1)), np.ones(192))},
            r"blob 0 of conv2/3x3 must be of shape \(192, 64, 3, 3\), got \(192, 64, 1, 1\)",
        ),
        (lambda blobs: blobs | {"bn1": [np.ones(64)]}, "'blob 0 of bn1' is nothing that GoogLeNet has"),
        (lambda blobs: {"fc": [np.ones(3)]}, "blob 0 of conv1/7x7_s2 of shape .* is missing"),
        (
            lambda blobs: blobs | {"conv1/7x7_s2": (blobs["conv1/7x7_s2"][0], NAN)},
            "the weights of layer conv1_7x7_s2 hold NaN or infinite values",
        ),
    ],
)
def test_what_is_wrong_with_caffes_weights(caffe: Arrays, tmp_path: Path, change: Any, reason: str) -> None:
    assert_refused(tmp_path, published.caffemodel(change(caffe)), reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: without(state, "conv1.bn.bias"), r"conv1.bn.bias of shape \(64,\) is missing"),
        (
            lambda state: state | {"conv1.conv.weight": np.ones((64, 1, 7, 7), np.float32)},
            r"conv1.conv.weight must be of shape \(64, 3, 7, 7\), got \(64, 1, 7, 7\)",
        ),
        (lambda state: state | {"layer1.weight": np.ones(3)}, "'layer1.weight' is nothing that GoogLeNet has"),
        (lambda state: state | {"conv1.bn.running_var": -np.ones(64)}, "the weights of layer conv1_7x7_s2 hold NaN"),
        (lambda state: state | {"conv1.bn.weight": np.full(64, 1e300)}, "the weights of layer conv1_7x7_s2 hold NaN"),
    ],
)
def test_what_is_wrong_with_torchvisions_weights(torchvision: Arrays, tmp_path: Path, change: Any, reason: str) -> None:
    assert_refused(tmp_path, published.torch_zip(change(torchvision)), reason)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    assert_refused(tmp_path, content, r"no \.caffemodel")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(WeightsError, match=f"weights {path}: {reason}"):
            convert_weights(str(path), str(tmp_path / "x.weights.h5"))


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 2**30 + 1)
    with pytest.raises(WeightsError, match="large: larger than 1073741824 bytes, so not those of GoogLeNet"):
        convert_weights(str(tmp_path / "large"), str(tmp_path / "x.weights.h5"))


def assert_refused(folder: Path, content: bytes, reason: str) -> None:
    source, output = folder / "published", folder / "googlenet.weights.h5"
    source.write_bytes(content)
    output.write_text("is kept")
    with pytest.raises(WeightsError, match=reason) as caught:
        convert_weights(str(source), str(output))
    assert str(caught.value).startswith(f"{source}: ")
    assert "torchvision's googlenet-1378be20.pth would be right" in str(caught.value)
    assert str(caught.value).isprintable()
    assert sorted(folder.iterdir()) == [output, source]
    assert output.read_text() == "is kept"


# The formats of files, by themselves.

SMALL = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b": np.array([-1.5, 2**40], np.float64),
    "half": np.array([0.5, 2048], np.float16),
    "count": np.array(2**40),
    "none": np.zeros((0, 3), np.float32),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
}


@pytest.mark.parametrize("write", [published.torch_old, published.torch_zip])
def test_tensors_of_every_type(write: Callable[[Arrays], bytes]) -> None:
    read = read_torch_file(write(SMALL))
    assert list(read) == list(SMALL)
    for name, array in SMALL.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_tensors_that_show_parts_of_one_storage() -> None:
    values = np.array([0, 1, -2, 3.5, 8, 16], ml_dtypes.bfloat16)
    whole = published.tensor("0", values, b"", kind="BFloat16")
    part = published.tensor("0", values, b"", kind="BFloat16", offset=1, shape=(2, 1, 2), strides=(2, 999, 1))
    read = read_torch_file(
        published.zipped(published.state_dict({"whole": whole, "part": part}), {"0": values.tobytes()})
    )
    assert read["whole"].tolist() == values.tolist()
    assert read["part"].tolist() == [[[1, -2]], [[3.5, 8]]]


@pytest.mark.parametrize(
    "places",
    [
        {"shape": (7,), "strides": (1,)},
        {"shape": (4, 4), "strides": (0, 0)},
        {"offset": 5, "shape": (2,), "strides": (1,)},
        {"offset": -1},
        {"offset": 7, "shape": (1,), "strides": (1,)},
        {"shape": (-2, -3), "strides": (1, 1)},
        {"shape": (6,), "strides": (-1,)},
        {"shape": (2,), "strides": (2**31 - 1,)},
        {"shape": (6,), "strides": (1, 1)},
        {"shape": (1,) * 100, "strides": (1,) * 100},
        {"length": 5},
        {"length": -6},
        {"length": 2**31 - 1},
        {"kind": "Int"},
        {"kind": "Double"},
        {"view": b"X\x01\x00\x00\x000"},
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(places: Arrays) -> None:
    values = np.arange(6, dtype=np.float32)
    state = published.state_dict({"a": published.tensor("0", values, **({"view": b""} | places))})
    with pytest.raises(WeightsError, match=r"^damaged, or no PyTorch state dict: .") as caught:
        read_torch_file(published.zipped(state, {"0": values.tobytes()}))
    assert str(caught.value).isprintable()


def test_a_compressed_archive_is_refused() -> None:
    # Ten million zeros in ten thousand bytes.
    content = published.torch_zip({"a": np.zeros(10_000_000, np.float32)}, zipfile.ZIP_DEFLATED)
    assert len(content) < 50_000
    with pytest.raises(WeightsError, match="it is compressed, which PyTorch's files are not"):
        read_torch_file(content)


def test_an_archive_that_says_it_is_larger_than_its_file_is_refused() -> None:
    content = published.torch_zip({"a": np.zeros(1000, np.float32)})
    with pytest.raises(WeightsError, match="its members are larger than the file"):
        read_torch_file(content.replace(struct.pack("<II", 4000, 4000), struct.pack("<II", 2**31, 2**31)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (published.torch_zip(SMALL, order=b"big"), "its numbers must be little-endian"),
        (published.torch_old(SMALL).replace(b"little_endian\x88", b"little_endian\x89"), "is not little-endian"),
        (published.zipped(published.pickled(b"K\x01"), {}), "it holds no dict"),
        (published.zipped(published.pickled(b"}" + published.text("epoch") + b"K\x01s"), {}), "'epoch' is no tensor"),
        (published.zipped(published.state_dict({"a": published.tensor("9", np.ones(3))}), {}), "no item named"),
        (pickle.dumps([1]), "damaged, or no PyTorch state dict: "),
    ],
)
def test_other_pickles_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        read_torch_file(content)


def test_nothing_that_a_file_names_is_called(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    attack = f"cposix\nsystem\n(X{struct.pack('<I', len(str(mark)) + 6).decode()}touch {mark}tR".encode()
    pickle.loads(published.pickled(attack))
    assert mark.exists()
    mark.unlink()
    head = published.torch_old({}).removesuffix(published.state_dict({}) + published.pickled(b"](e"))
    for content in (published.zipped(published.pickled(attack), {}), head + published.pickled(attack)):
        with pytest.raises(WeightsError, match=r"it holds more than plain data \(posix.system\)"):
            read_torch_file(content)
    assert not mark.exists()


CAFFE = published.caffemodel({"a/b": [np.ones((2, 3, 1, 1)), np.arange(2)]})


@pytest.mark.parametrize("old", [True, False])
def test_blobs_of_every_form(old: bool) -> None:
    written = [np.ones((2, 3, 1, 1), np.float32), np.array([0.5, 1e300])]
    kernel, bias = read_caffemodel(published.caffemodel({"a/b": written}, old))["a/b"]
    assert (kernel.shape, bias.shape) == ((2, 3, 1, 1), (1, 1, 1, 2) if old else (2,))
    assert kernel.sum() == 6
    assert bias.ravel().tolist() == [0.5, np.inf]


@pytest.mark.parametrize(
    "shape", [(3,), (-1, -2), (2**62, 2**62), (1,) * 40 + (2,), (0,)], ids=lambda shape: f"{len(shape)} axes"
)
def test_a_blob_that_is_not_of_its_shape_is_refused(shape: tuple[int, ...]) -> None:
    dims = b"".join(published.varint(side % 2**64) for side in shape)
    blob = published.field(7, published.field(1, dims)) + published.field(5, bytes(8))
    layer = published.field(1, b"a\x1b") + published.field(7, blob)
    with pytest.raises(WeightsError, match=r"damaged: layer 'a\\x1b' has 2 numbers where \(.* are due") as caught:
        read_caffemodel(published.field(100, layer))
    assert str(caught.value).isprintable()


FILES = {
    "caffe": (read_caffemodel, CAFFE),
    "old": (read_torch_file, published.torch_old(SMALL)),
    "zip": (read_torch_file, published.torch_zip(SMALL)),
}


@pytest.mark.parametrize(("read", "content"), FILES.values(), ids=FILES)
def test_a_file_that_ends_too_early_is_refused(read: Callable[[bytes], Any], content: bytes) -> None:
    for length in range(len(content)):
        with contextlib.suppress(WeightsError):
            read(content[:length])
            assert read is read_caffemodel  # whose messages may end early, and then lack layers
    read(content)


@pytest.mark.parametrize(("read", "content"), FILES.values(), ids=FILES)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")  # in a string of a pickle
def test_any_change_is_read_or_refused(read: Callable[[bytes], Any], content: bytes, data: Any) -> None:
    changed = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WeightsError):
        read(bytes(changed))
