"""GoogLeNet as others published it, told without tfvlad: its layers, a slow forward pass, and the files of its weights.

The layers are those of BVLC's ``models/bvlc_googlenet/deploy.prototxt``, by its names, and of torchvision's
``models/googlenet.py``. Files are written byte by byte, with weights drawn at random.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Channels that enter a module, and those of its 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool proj.
MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64), "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip
TORCHVISION = {"conv1/7x7_s2": "conv1", "conv2/3x3_reduce": "conv2", "conv2/3x3": "conv3"} | {
    f"inception_{module}/{caffe}": f"inception{module}.{torchvision}"
    for module in MODULES
    for caffe, torchvision in {
        "1x1": "branch1", "3x3_reduce": "branch2.0", "3x3": "branch2.1", "5x5_reduce": "branch3.0", "5x5": "branch3.1",
        "pool_proj": "branch4.1",
    }.items()
}  # fmt: skip


class Convolution(NamedTuple):
    name: str
    below: str
    inputs: int
    outputs: int
    size: int
    stride: int = 1


def convolutions() -> Iterator[Convolution]:
    """The convolutions, each of which is padded with half its size."""
    yield Convolution("conv1/7x7_s2", "data", 3, 64, 7, 2)
    yield Convolution("conv2/3x3_reduce", "pool1/norm1", 64, 64, 1)
    yield Convolution("conv2/3x3", "conv2/3x3_reduce", 64, 192, 3)
    below = "pool2/3x3_s2"
    for module, (inputs, one, reduce_three, three, reduce_five, five, proj) in MODULES.items():
        name = f"inception_{module}"
        yield Convolution(f"{name}/1x1", below, inputs, one, 1)
        yield Convolution(f"{name}/3x3_reduce", below, inputs, reduce_three, 1)
        yield Convolution(f"{name}/3x3", f"{name}/3x3_reduce", reduce_three, three, 3)
        yield Convolution(f"{name}/5x5_reduce", below, inputs, reduce_five, 1)
        yield Convolution(f"{name}/5x5", f"{name}/5x5_reduce", reduce_five, five, 5)
        yield Convolution(f"{name}/pool_proj", f"{name}/pool", inputs, proj, 1)
        below = {"3b": "pool3/3x3_s2", "4e": "pool4/3x3_s2"}.get(module, f"{name}/output")


# The forward pass, on maps of (H, W, C).


def convolve(x: Array, kernel: Array, stride: int) -> Array:
    """Convolves with a kernel of (out, in, h, w), on a map padded with half its size."""
    size = kernel.shape[-1]
    padded = np.pad(x, ((size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (0, 1))[::stride, ::stride]
    return np.tensordot(windows, kernel, ((2, 3, 4), (1, 2, 3)))  # (H, W, in, h, w), (out, in, h, w) -> (H, W, out)


def pool(x: Array, size: int, stride: int, pad: int = 0) -> Array:
    """Takes the largest value of windows, as many as ``ceil_mode`` makes; they are cut off at the map's borders."""
    rows, columns = (math.ceil((side + 2 * pad - size) / stride) + 1 for side in x.shape[:2])
    return np.array(
        [
            [
                x[max(top, 0) : top + size, max(left, 0) : left + size].max((0, 1))
                for left in range(-pad, columns * stride - pad, stride)
            ]
            for top in range(-pad, rows * stride - pad, stride)
        ]
    )


def normalise(x: Array) -> Array:
    """Normalises responses across channels: local_size 5, alpha 0.0001, beta 0.75, k 1."""
    scale = [1 + 1e-4 / 5 * (x[..., max(c - 2, 0) : c + 3] ** 2).sum(-1) for c in range(x.shape[-1])]
    return x / np.stack(scale, -1) ** 0.75


def _forward(
    x: Array, convolved: Callable[[str, Array, int], Array], normalised: Callable[[Array], Array], last: int
) -> dict[str, Array]:
    maps = {"data": x}

    def conv(name: str, x: Array, stride: int = 1) -> Array:
        maps[name] = np.maximum(convolved(name, x, stride), 0)
        return maps[name]

    maps["pool1/3x3_s2"] = pool(conv("conv1/7x7_s2", x, 2), 3, 2)
    maps["pool1/norm1"] = normalised(maps["pool1/3x3_s2"])
    x = conv("conv2/3x3", conv("conv2/3x3_reduce", maps["pool1/norm1"]))
    maps["conv2/norm2"] = normalised(x)
    x = maps["pool2/3x3_s2"] = pool(maps["conv2/norm2"], 3, 2)
    for module in MODULES:
        name = f"inception_{module}"
        maps[f"{name}/pool"] = pool(x, 3, 1, 1)
        branches = [
            conv(f"{name}/1x1", x),
            conv(f"{name}/3x3", conv(f"{name}/3x3_reduce", x)),
            conv(f"{name}/5x5", conv(f"{name}/5x5_reduce", x)),
            conv(f"{name}/pool_proj", maps[f"{name}/pool"]),
        ]
        x = maps[f"{name}/output"] = np.concatenate(branches, -1)
        if module in ("3b", "4e"):
            x = maps[f"pool{module[0]}/3x3_s2"] = pool(x, last if module == "4e" else 3, 2)
    return maps


Blobs = Mapping[str, tuple[Array, Array]]


def caffe_forward(blobs: Blobs, image: Array) -> dict[str, Array]:
    """Gives the map of every layer for an RGB image, in float64."""
    x = image[..., ::-1].astype(np.float64) - (104, 117, 123)
    return _forward(
        x, lambda name, x, stride: convolve(x, blobs[name][0].astype(float), stride) + blobs[name][1], normalise, 3
    )


def torchvision_forward(state: Mapping[str, Array], image: Array) -> dict[str, Array]:
    """Likewise, of torchvision's network with ``transform_input``; its maps go by Caffe's names."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = (image / 255 - mean) / deviation  # which is given to the network
    x = x * (deviation / 0.5) + (mean - 0.5) / 0.5

    def convolved(name: str, x: Array, stride: int) -> Array:
        its = {key: state[f"{TORCHVISION[name]}.{key}"].astype(float) for key in ("conv.weight", *STATISTICS)}
        gamma, beta, mean, variance = (its[key] for key in STATISTICS)
        return (convolve(x, its["conv.weight"], stride) - mean) / np.sqrt(variance + 0.001) * gamma + beta

    return _forward(x, convolved, lambda x: x, 2)


# Weights, drawn so that the responses stay about as large from layer to layer.

STATISTICS = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


def draw_caffe(seed: int = 0) -> dict[str, tuple[Array, Array]]:
    """Draws kernels and biases of the convolutions."""
    generator = np.random.default_rng(seed)
    return {
        c.name: (
            generator.standard_normal((c.outputs, c.inputs, c.size, c.size), np.float32)
            * np.float32(math.sqrt(2 / (c.inputs * c.size**2))),
            generator.standard_normal(c.outputs, np.float32),
        )
        for c in convolutions()
    }


def draw_torchvision(seed: int = 0) -> dict[str, Array]:
    """Draws a state dict, with an auxiliary classifier's convolution and the last layer beside the convolutions."""
    generator = np.random.default_rng(seed)
    state: dict[str, Array] = {}
    for c in convolutions():
        name, size = TORCHVISION[c.name], min(c.size, 3) if "5x5" in c.name else c.size
        kernel = generator.standard_normal((c.outputs, c.inputs, size, size), np.float32)
        state[f"{name}.conv.weight"] = kernel * np.float32(math.sqrt(2 / (c.inputs * size**2)))
        for key in STATISTICS:
            state[f"{name}.{key}"] = generator.uniform(0.5, 1.5, c.outputs).astype(np.float32)
        state[f"{name}.bn.running_mean"] -= 1
        state[f"{name}.bn.num_batches_tracked"] = np.array(0)
    state["aux1.conv.conv.weight"] = np.ones((128, 512, 1, 1), np.float32)
    state["fc.weight"], state["fc.bias"] = np.ones((1000, 1024), np.float32), np.ones(1000, np.float32)
    return state


# Caffe's files.


def prototxt(height: int, width: int) -> str:
    """The network's description, as ``deploy.prototxt`` gives it."""
    lines = ['name: "GoogleNet" input: "data"', *(f"input_dim: {side}" for side in (1, 3, height, width))]

    def layer(kind: str, name: str, below: Sequence[str], settings: str, top: str = "") -> None:
        bottoms = " ".join(f'bottom: "{bottom}"' for bottom in below)
        lines.append(f'layer {{ type: "{kind}" name: "{name}" {bottoms} top: "{top or name}" {settings} }}')

    def pooling(name: str, below: str, settings: str = "stride: 2") -> None:
        layer("Pooling", name, [below], f"pooling_param {{ pool: MAX kernel_size: 3 {settings} }}")

    def convolution(c: Convolution) -> None:
        size = f"kernel_size: {c.size} pad: {c.size // 2} stride: {c.stride}"
        layer("Convolution", c.name, [c.below], f"convolution_param {{ num_output: {c.outputs} {size} }}")
        layer("ReLU", f"{c.name}/relu", [c.name], "", c.name)

    def normalisation(name: str, below: str) -> None:
        layer("LRN", name, [below], "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")

    first, reduce, second, *others = convolutions()
    convolution(first)
    pooling("pool1/3x3_s2", first.name)
    normalisation("pool1/norm1", "pool1/3x3_s2")
    convolution(reduce)
    convolution(second)
    normalisation("conv2/norm2", second.name)
    pooling("pool2/3x3_s2", "conv2/norm2")
    for number, module in enumerate(MODULES):
        name, its = f"inception_{module}", others[6 * number : 6 * number + 6]
        pooling(f"{name}/pool", its[0].below, "stride: 1 pad: 1")
        for c in its:
            convolution(c)
        layer("Concat", f"{name}/output", [its[branch].name for branch in (0, 2, 4, 5)], "")
        if module in ("3b", "4e"):
            pooling(f"pool{module[0]}/3x3_s2", f"{name}/output")
    return "\n".join(lines)


def caffemodel(blobs: Mapping[str, Sequence[Array]], old: bool = False) -> bytes:
    """A serialised ``NetParameter``: of V1 layers and blobs of four axes, as the published one is, or of today's."""
    layers = []
    for name, its in blobs.items():
        parts = [field(4 if old else 1, name.encode())]
        if not old:
            parts.append(field(2, b"Convolution"))
        for array in its:
            exact = array.dtype == np.float64
            data = field(8 if exact else 5, array.astype("<f8" if exact else "<f4").tobytes())
            if old:
                shape = (1,) * (4 - array.ndim) + array.shape
                blob = b"".join(varint(number << 3) + varint(side) for number, side in enumerate(shape, start=1))
            else:
                blob = field(7, field(1, b"".join(map(varint, array.shape))))
            parts.append(field(6 if old else 7, blob + data))
        layers.append(field(2 if old else 100, b"".join(parts)))
    return field(1, b"GoogleNet") + b"".join(layers)


def varint(number: int) -> bytes:
    """A whole number as protobuf writes it."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, content: bytes) -> bytes:
    """A field of a message that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


# PyTorch's files: pickles of protocol 2, and the storages.

STORAGES = {"<f8": "Double", "<f4": "Float", "<f2": "Half", "<i8": "Long"}
_END_OF_TUPLE, _CALL, _EMPTY_TUPLE, _EMPTY_DICT, _MARK, _NONE, _FALSE = b"t", b"R", b")", b"}", b"(", b"N", b"\x89"
_ORDERED_DICT = b"ccollections\nOrderedDict\n" + _EMPTY_TUPLE + _CALL
_SYSTEM = _EMPTY_DICT + b"(X\x10\x00\x00\x00protocol_versionM\xe9\x03X\x0d\x00\x00\x00little_endian\x88u"


def pickled(content: bytes) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + content + b"."


def text(value: str) -> bytes:
    """The opcode of a string."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """The opcode of a whole number."""
    return b"J" + struct.pack("<i", value)


def tensor(key: str, array: Array, view: bytes = _NONE, **others: Any) -> bytes:
    """The opcodes of a tensor alone in its storage, or where ``offset``, ``shape`` and ``strides`` say."""
    offset, length = others.get("offset", 0), others.get("length", array.size)
    shape = others.get("shape", array.shape)
    strides = others.get("strides", [step // array.itemsize for step in array.strides])
    kind = others.get("kind", STORAGES.get(array.dtype.str))
    storage = text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu") + number(length) + view
    places = _MARK + b"".join(map(number, shape)) + _END_OF_TUPLE + _MARK + b"".join(map(number, strides)) + b"t"
    arguments = _MARK + _MARK + storage + _END_OF_TUPLE + b"Q" + number(offset) + places + _FALSE + _ORDERED_DICT + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + _CALL


def state_dict(tensors: Mapping[str, bytes]) -> bytes:
    """The pickle of a state dict, whose OrderedDict has an attribute, as that of a module has."""
    items = b"".join(text(name) + its for name, its in tensors.items())
    metadata = _EMPTY_DICT + text("_metadata") + _ORDERED_DICT + b"s"
    return pickled(_ORDERED_DICT + _MARK + items + b"u" + metadata + b"b")


def torch_old(state: Mapping[str, Array]) -> bytes:
    """What `torch.save` wrote before 1.6."""
    magic = pickled(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19")
    head = magic + pickled(b"M\xe9\x03") + pickled(_SYSTEM)
    keys = pickled(b"](" + b"".join(text(str(key)) for key in range(len(state))) + b"e")
    tensors = {name: tensor(str(key), array) for key, (name, array) in enumerate(state.items())}
    storages = b"".join(struct.pack("<q", array.size) + numbers(array) for array in state.values())
    return head + state_dict(tensors) + keys + storages


def torch_zip(state: Mapping[str, Array], compression: int = zipfile.ZIP_STORED, order: bytes = b"little") -> bytes:
    """What `torch.save` writes since."""
    tensors = {name: tensor(str(key), array, b"") for key, (name, array) in enumerate(state.items())}
    storages = {str(key): numbers(array) for key, array in enumerate(state.values())}
    return zipped(state_dict(tensors), storages, compression, order)


def zipped(
    pickle: bytes, storages: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED, order: bytes = b"little"
) -> bytes:
    """The archive of a pickle and its storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("googlenet/data.pkl", pickle)
        archive.writestr("googlenet/byteorder", order)
        for key, content in storages.items():
            archive.writestr(f"googlenet/data/{key}", content)
        archive.writestr("googlenet/version", "3\n")
    return file.getvalue()


def numbers(array: Array) -> bytes:
    """An array's numbers in the order of its memory, which its strides tell."""
    return array.tobytes("A")
