"""Turns the published weights of GoogLeNet into a file that Keras reads: BVLC's for Caffe, and torchvision's.

Torchvision's network differs from Caffe's, and the weights say so (see `tfvlad.networks.googlenet`): it normalises
batches, which is folded into kernels and biases; it normalises no responses; its 5x5 convolutions have kernels of 3x3,
which become the middle of 5x5; its last pooling takes windows of 2x2; and its training scaled pixels to -1 … 1, which
torchvision calls ``transform_input``. Where that pooling meets an odd number of rows or columns, torchvision gives the
last one a cell of its own, and we, like Caffe, do not: the modules 5a and 5b then see a row or column less.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tfvlad.errors import WeightsError
from tfvlad.networks._caffemodel import read_caffemodel
from tfvlad.networks._torch_file import OLD_START, ZIP_START, read_torch_file
from tfvlad.networks.googlenet import GoogLeNet, LastPooling, LocalResponseNormalization
from tfvlad.networks.weights import weights_digest
from tfvlad.storage.atomic import atomic_file

_LARGEST = 2**30  # bytes of a file; the published ones have fifty million
_EPSILON = 0.001  # of torchvision's batch normalisation
_STEM = {"conv1_7x7_s2": "conv1", "conv2_3x3_reduce": "conv2", "conv2_3x3": "conv3"}
_BRANCHES = {
    "1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "5x5_reduce": "branch3.0", "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}  # fmt: skip

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class ConvertedWeights:
    """What was converted.

    Attributes:
      trained_with: ``Caffe`` or ``torchvision``.
      sha256: of the file that was read.
      digest: of the network with its weights, see `tfvlad.networks.weights.weights_digest`.
    """

    trained_with: str
    sha256: str
    digest: str


def convert_weights(source: str, output: str) -> ConvertedWeights:
    """Writes published weights of GoogLeNet as Keras weights of the network without its classifier.

    Args:
      source: a ``.caffemodel`` with the layers of ``bvlc_googlenet``, or a PyTorch state dict of torchvision's
        ``googlenet``, taken for one that was trained with ``transform_input``, as the published one was. The
        classifiers in it are passed over.
      output: ``.weights.h5`` file to write, whole or not at all; one that is there is replaced.

    Raises:
      WeightsError: the source cannot be read, or holds anything but weights of GoogLeNet.
      OSError: the output cannot be written.
    """
    data = _read(source)
    network = GoogLeNet(include_top=False)
    try:
        if data.startswith((ZIP_START, OLD_START)):
            trained_with = "torchvision"
            _set_torchvision(network, read_torch_file(data))
        else:
            trained_with = "Caffe"
            _set_caffe(network, read_caffemodel(data))
        digest = weights_digest(network)
    except WeightsError as error:
        raise WeightsError(
            f"{source}: {error}; bvlc_googlenet.caffemodel or torchvision's googlenet-1378be20.pth would be right"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        written = os.path.join(folder, "googlenet.weights.h5")  # Keras wants this ending, which a temporary has not
        network.save_weights(written)
        with atomic_file(output) as temporary:
            shutil.copyfile(written, temporary)
    return ConvertedWeights(trained_with, hashlib.sha256(data).hexdigest(), digest)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGEST:
                raise WeightsError(f"weights {path}: larger than {_LARGEST} bytes, so not those of GoogLeNet")
            return file.read(size)
    except OSError as error:
        raise WeightsError(f"weights {path}: {error.strerror}") from None


class _Published:
    """Arrays of a published file by their names, each to be taken once."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._left = dict(arrays)

    def take(self, name: str, *shape: int) -> Array:
        """Returns an array in float64.

        Raises:
          WeightsError: it is missing, or of another shape; ones before a shape do not count.
        """
        array = self._left.pop(name, None)
        if array is None:
            raise WeightsError(f"{name} of shape {shape} is missing")
        if array.shape not in (shape, (1,) * (4 - len(shape)) + shape):
            raise WeightsError(f"{name} must be of shape {shape}, got {array.shape}")
        return array.reshape(shape).astype(np.float64)

    def require_end(self, passed_over: str) -> None:
        """Makes sure that nothing is left but names that a regular expression matches."""
        for name in self._left:
            if not re.fullmatch(passed_over, name):
                raise WeightsError(f"{name!r:.60} is nothing that GoogLeNet has")


def _set_caffe(network: keras.Model, blobs: Mapping[str, list[Array]]) -> None:
    published = _Published(
        {f"blob {number} of {name}": blob for name, its in blobs.items() for number, blob in enumerate(its)}
    )
    for layer in _convolutions(network):
        height, width, inputs, outputs = layer.kernel.shape
        name = re.sub(r"^(conv\d|inception_..)_", r"\1/", layer.name)
        kernel = published.take(f"blob 0 of {name}", outputs, inputs, height, width)
        _set(layer, kernel, published.take(f"blob 1 of {name}", outputs))
    published.require_end(r"blob . of loss\d/.*")


def _set_torchvision(network: keras.Model, tensors: Mapping[str, Array]) -> None:
    published = _Published(tensors)
    for layer in _convolutions(network):
        size, _, inputs, outputs = layer.kernel.shape
        stored = min(size, 3) if "5x5" in layer.name else size
        name = _torchvision_name(layer.name)
        kernel = published.take(f"{name}.conv.weight", outputs, inputs, stored, stored)
        gamma, beta, mean, variance = (
            published.take(f"{name}.bn.{part}", outputs) for part in ("weight", "bias", "running_mean", "running_var")
        )
        margin = (size - stored) // 2
        with np.errstate(all="ignore"):  # what is not finite is refused later
            scale = gamma / np.sqrt(variance + _EPSILON)
            kernel = np.pad(kernel * scale[:, None, None, None], ((0, 0), (0, 0), (margin, margin), (margin, margin)))
            _set(layer, kernel, beta - mean * scale)
    published.require_end(r"(aux\d|fc)\..*|.*\.num_batches_tracked")
    network.get_layer("pixels").set_weights([np.eye(3)[None, None] / 127.5, -np.ones(3)])
    for layer in network.layers:
        if isinstance(layer, LocalResponseNormalization | LastPooling):
            layer.set_weights([np.zeros(())])


def _convolutions(network: keras.Model) -> Iterable[keras.layers.Conv2D]:
    """The layers whose weights a published file has."""
    return (layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D) and layer.name != "pixels")


def _torchvision_name(name: str) -> str:
    if name in _STEM:
        return _STEM[name]
    _, module, branch = name.split("_", 2)
    return f"inception{module}.{_BRANCHES[branch]}"


def _set(layer: keras.layers.Conv2D, kernel: Array, bias: Array) -> None:
    """Sets a layer's weights, given its kernel as (out, in, height, width)."""
    with np.errstate(over="ignore"):
        layer.set_weights([kernel.transpose(2, 3, 1, 0).astype(np.float32), bias.astype(np.float32)])
