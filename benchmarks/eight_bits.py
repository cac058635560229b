"""What would eight bits in the network gain, and what would they lose?

    python benchmarks/eight_bits.py --data DATA [--rounds 7] [--json OUT]

VGG16 to `block4_conv2` in TensorFlow as tfvlad runs it, and in ONNX Runtime in float32 and with weights and activations
of eight bits (static quantisation, a scale for each channel, calibrated on 48 book covers). DATA holds `smvs_dvd`,
`smvs_books` and VGG16's weights. Timed on tensors that lie ready; recall@1 is that of the whole VLAD, its codebook
fitted on the covers in the same precision. It needs `onnx` and `onnxruntime`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timing

import tfvlad
from tfvlad.encoding.codebook import fit_codebook
from tfvlad.images.listing import image_paths
from tfvlad.images.loading import image_loader
from tfvlad.networks.backbones import load_backbone
from tfvlad_kernels import encode_vlad

LAYER, SIDE, BATCH = "block4_conv2", 256, 4
CALIBRATION = 48  # images
SAMPLE = 600  # local features of an image that the codebook is fitted on
TENSORFLOW, FLOAT32, EIGHT_BITS = "TensorFlow, float32", "ONNX Runtime, float32", "ONNX Runtime, 8 bits"
SETS = {
    "DVD covers": ("smvs_dvd/Reference", "smvs_dvd/E63"),
    "book covers": ("smvs_books/Reference", "smvs_books/Query"),
}

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to run the network."""

    name: str
    ms_per_image: float
    speedup: float
    median_cosine: float
    recall_at_1: dict[str, float]


def main() -> None:
    parser = timing.parser(__doc__, rounds=7)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_models(arguments.data, Path(folder))
        timings, missing = timing.compare(
            CONTENDERS, (str(arguments.data), folder), timing.all_threads()[-1], arguments.rounds
        )
        rows = judged(arguments, timings, Path(folder))
    timing.print_table(
        f"VGG16 {LAYER}, {SIDE} px",
        ("", "ms/image", "speed-up", "median cosine", *(f"recall@1, {name}" for name in SETS)),
        [
            (
                row.name,
                f"{row.ms_per_image:.0f}",
                f"{row.speedup:.2f}",
                f"{row.median_cosine:.4f}",
                *(f"{recall:.2f}" for recall in row.recall_at_1.values()),
            )
            for row in rows
        ],
    )
    timing.print_missing(missing)
    timing.write_json(arguments.json, rows, missing)


def network(data: str | Path) -> Any:
    """VGG16 up to the layer, with its weights, and what loads images for it."""
    weights = os.path.join(data, "vgg16_imagenet_notop.weights.h5")
    config = tfvlad.EncoderConfig("vgg16", weights=weights, layer=LAYER, image_size=SIDE)
    return load_backbone(config)


def load_images(folder: Path) -> list[Floats]:
    """The images of a folder, (1, H, W, 3), as VGG16 takes them."""
    loader = image_loader(SIDE, "fit", "caffe")
    return [np.asarray(loader.load(path))[None] for path in image_paths(folder)]


def write_models(data: Path, folder: Path) -> None:
    """Writes the network as `float32.onnx` and, quantised, as `eight.onnx`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    nodes = [helper.make_node("Transpose", ["images"], ["start"], perm=[0, 3, 1, 2])]
    weights, last = [], "start"
    for layer in network(data).model.layers[1:]:
        if layer.name.endswith("pool"):
            nodes.append(helper.make_node("MaxPool", [last], [layer.name], kernel_shape=[2, 2], strides=[2, 2]))
        else:
            names = [f"{layer.name}/{part}" for part in ("kernel", "bias", "sum")]
            kernel, bias = layer.get_weights()
            weights.append(numpy_helper.from_array(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), names[0]))
            weights.append(numpy_helper.from_array(bias, names[1]))
            nodes.append(helper.make_node("Conv", [last, *names[:2]], names[2:], pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", names[2:], [layer.name]))
        last = layer.name
    nodes.append(helper.make_node("Transpose", [last], ["features"], perm=[0, 2, 3, 1]))
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None, channels])]
        for name, channels in (("images", 3), ("features", 512))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "vgg16", *ends, weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(model, folder / "float32.onnx")

    class Calibration(CalibrationDataReader):  # type: ignore[misc]
        """Gives images one by one."""

        def __init__(self) -> None:
            self._images = iter(load_images(data / "smvs_books" / "Reference")[:CALIBRATION])

        def get_next(self) -> dict[str, Floats] | None:
            image = next(self._images, None)
            return None if image is None else {"images": image}

    quant_pre_process(str(folder / "float32.onnx"), str(folder / "ready.onnx"), skip_symbolic_shape=True)
    quantize_static(
        str(folder / "ready.onnx"),
        str(folder / "eight.onnx"),
        Calibration(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,  # products of eight bits would overflow where the processor has no VNNI
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def runner(name: str, data: str | Path, folder: str | Path) -> Any:
    """A function from images, (B, H, W, 3), to local features, (B, h, w, C)."""
    if name == TENSORFLOW:
        import tensorflow as tf

        model = network(data).model
        graph = tf.function(lambda images: model(images, training=False), [tf.TensorSpec((None, None, None, 3))])
        return lambda images: graph(images).numpy()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    file = "float32.onnx" if name == FLOAT32 else "eight.onnx"
    session = onnxruntime.InferenceSession(os.path.join(folder, file), options)
    return lambda images: session.run(None, {"images": images})[0]


def judged(arguments: argparse.Namespace, timings: dict[str, timing.Timing], folder: Path) -> list[Row]:
    """Adds what each way finds."""
    sets = {name: [load_images(arguments.data / place) for place in places] for name, places in SETS.items()}
    exact: list[Floats] = []
    rows = []
    for name, measured in timings.items():
        run = runner(name, arguments.data, folder)
        features = {of: [[unit(run(image)) for image in images] for images in sides] for of, sides in sets.items()}
        covers = [image for database, _ in features.values() for image in database]
        exact = exact or covers
        cosines = np.concatenate([np.sum(one * other, axis=1) for one, other in zip(exact, covers, strict=True)])
        rows.append(
            Row(
                name,
                measured.median / BATCH * 1e3,
                timings[TENSORFLOW].ratio(measured),
                float(np.median(cosines)),
                {of: recall(*sides, arguments.seed) for of, sides in features.items()},
            )
        )
    return rows


def unit(activations: Floats) -> Floats:
    """(1, h, w, C) activations as (h w, C) local features of unit length."""
    features = activations.reshape(-1, activations.shape[-1])
    return np.ascontiguousarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def recall(database: list[Floats], queries: list[Floats], seed: int) -> float:
    """recall@1 of whole VLADs; the answer to a query is the image of the same number."""
    generator = np.random.default_rng(seed)
    samples = [image[generator.permutation(len(image))[:SAMPLE]] for image in database]
    codebook = fit_codebook(np.concatenate(samples), 100, seed)
    vlads = [
        np.concatenate([encode_vlad(image[None], codebook, power=0.5) for image in images])
        for images in (database, queries)
    ]
    return float(np.mean(np.argmax(vlads[1] @ vlads[0].T, axis=1) == np.arange(len(queries))))


def prepare(name: str, data: str, folder: str) -> timing.Prepared:
    """Draws images for one way to run the network."""
    run = runner(name, data, folder)
    images = np.random.default_rng(0).normal(0, 60, (BATCH, SIDE, SIDE * 3 // 4, 3)).astype(np.float32)
    return lambda: run(images), lambda _: {}


def prepare_tensorflow(*where: str) -> timing.Prepared:
    return prepare(TENSORFLOW, *where)


def prepare_float32(*where: str) -> timing.Prepared:
    return prepare(FLOAT32, *where)


def prepare_eight_bits(*where: str) -> timing.Prepared:
    return prepare(EIGHT_BITS, *where)


CONTENDERS: dict[str, timing.Prepare] = {
    TENSORFLOW: prepare_tensorflow,
    FLOAT32: prepare_float32,
    EIGHT_BITS: prepare_eight_bits,
}

if __name__ == "__main__":
    main()
