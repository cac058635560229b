"""How fast is the network, up to the layer, in each precision, and how near to what the processor can do?

    python benchmarks/forward.py [--backbone NET.keras --layer NAME] [--image_size 224] [--json OUT]

Runs on tensors that lie ready: VGG16 to block4_conv3 and InceptionV3 to mixed2, with random weights (their structure
decides the speed), or the network that is given. The speed-up is against float32 as tfvlad runs it; GFLOP/s are counted
from the convolutions and shown beside those of a large matrix product in the same run; the cosine is the smallest
between a local feature and that of float32.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import timing
from gpu import operations_of

NETWORKS = (("vgg16", "block4_conv3"), ("inceptionv3", "mixed2"))
BATCH = 4
SIDE = 2048  # rows, columns and depth of the matrix product
PRODUCT, FLOAT32 = "matrix product", "float32"

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Row:
    """One network in one precision."""

    network: str
    layer: str
    image_size: int
    threads: int
    precision: str
    ms_per_image: float
    speedup: float
    gflops: float
    of_product: float
    cosine: float


def main() -> None:
    parser = timing.parser(__doc__, rounds=5)
    parser.add_argument("--backbone")
    parser.add_argument("--layer")
    parser.add_argument("--image_size", type=int, default=224)
    arguments = parser.parse_args()
    threads = timing.all_threads()[-1]
    rows: list[Row] = []
    for backbone, layer in [(arguments.backbone, arguments.layer)] if arguments.backbone else NETWORKS:
        settings = (backbone, layer, arguments.image_size, arguments.seed)
        timings, _ = timing.compare(CONTENDERS, settings, threads, arguments.rounds)
        peak = 2 * SIDE**3 / timings.pop(PRODUCT).median / 1e9
        found = [
            Row(
                os.path.basename(backbone),
                layer,
                arguments.image_size,
                threads,
                name,
                measured.median / BATCH * 1e3,
                timings[FLOAT32].ratio(measured),
                measured.quality["gflop"] / measured.median,
                measured.quality["gflop"] / measured.median / peak,
                measured.quality["cosine"],
            )
            for name, measured in timings.items()
        ]
        print_rows(found, peak)
        rows += found
    timing.write_json(arguments.json, rows)


def print_rows(rows: list[Row], peak: float) -> None:
    first = rows[0]
    timing.print_table(
        f"{first.network} {first.layer}, {first.image_size} px, batch {BATCH}, threads {first.threads}; "
        f"a matrix product in float32 has {peak:.0f} GFLOP/s",
        ("precision", "ms/image", "speed-up", "GFLOP/s", "of the product", "cosine"),
        [
            (
                row.precision,
                f"{row.ms_per_image:.1f}",
                f"{row.speedup:.2f}",
                f"{row.gflops:.0f}",
                f"{row.of_product:.2f}",
                f"{row.cosine:.5f}",
            )
            for row in rows
        ],
    )


def prepare_product(*_: Any) -> timing.Prepared:
    left, right = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), dtype=np.float32)
    return lambda: left @ right, lambda _: {}


def prepare_float32(*settings: Any) -> timing.Prepared:
    return prepare("float32", *settings)


def prepare_bfloat16(*settings: Any) -> timing.Prepared:
    return prepare("bfloat16", *settings)


def prepare_float16(*settings: Any) -> timing.Prepared:
    return prepare("float16", *settings)


def prepare_without_onednn(*settings: Any) -> timing.Prepared:
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # TensorFlow's own choice on x86 without AVX-512
    return prepare("float32", *settings)


def prepare(precision: str, backbone: str, layer: str, image_size: int, seed: int) -> timing.Prepared:
    """Cuts the network, and draws images for it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    from tfvlad.config import EncoderConfig
    from tfvlad.networks.backbones import load_backbone

    def cut(precision: Any) -> keras.Model:
        config = EncoderConfig(backbone, "random:0", layer, "tf", precision, image_size)
        return load_backbone(config).model

    images = tf.random.stateless_normal((BATCH, image_size, image_size, 3), (seed, 0))
    model = cut(precision)
    graph = tf.function(lambda images: model(images, training=False))

    def judge(maps: Floats) -> dict[str, float]:
        exact = np.asarray(cut("float32")(images))
        norms = np.linalg.norm(maps, axis=3) * np.linalg.norm(exact, axis=3)
        cosines = np.sum(maps * exact, axis=3)[norms > 0] / norms[norms > 0]
        return {"cosine": float(cosines.min()), "gflop": BATCH * gflop(model, image_size)}

    return lambda: np.asarray(tf.cast(graph(images), tf.float32)), judge


def gflop(model: Any, image_size: int) -> float:
    """10^9 floating-point operations of a network's convolutions, for one image."""
    import keras

    at_size = keras.models.clone_model(model, input_tensors=keras.Input((image_size, image_size, 3)))
    return sum(operations_of(layer) for layer in at_size.layers[1:]) / 1e9


CONTENDERS: dict[str, timing.Prepare] = {
    PRODUCT: prepare_product,
    FLOAT32: prepare_float32,
    "float32, no oneDNN": prepare_without_onednn,
    "bfloat16": prepare_bfloat16,
    "float16": prepare_float16,
}

if __name__ == "__main__":
    main()
