"""What does VLAD cost inside the graph, and how near to the device's limit does the whole encoder run?

    python benchmarks/gpu.py [--backend jax] [--image_sizes 224 448] [--batches 16 64] [--precisions float32 bfloat16]

VGG16 to block4_conv3 by itself, and with VLAD and whitening behind it in one compiled graph, both with random weights
(structure decides the speed) on images that lie on the device already. Prints images per second, the one's in the
other's (the target is 0.95), and the share of the roofline that is reached: over the layers, the time for the
floating-point operations or for the bytes read and written, whichever is longer, at the speed of the largest product
and copy that the device was seen to make in this run, or at the one given with --peak_tflops and --peak_gbps. Layers
that the compiler fuses need not write what the count says, and Winograd's convolutions need fewer operations.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import timing

LAYER = "block4_conv3"
LEAST = 0.5  # seconds of a timing

Run = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Row:
    """One image size, precision and batch; medians of the rounds."""

    backend: str
    device: str
    precision: str
    image_size: int
    batch: int
    bare_images_per_second: float
    encoder_images_per_second: float
    encoder_to_bare: float
    gflop_per_image: float
    megabytes_per_image: float
    peak_tflops: float
    peak_gbps: float
    share_of_roofline: float


def main() -> None:
    arguments = parse()
    os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        device = Device(arguments.backend)
    except ImportError as error:
        sys.exit(f"gpu.py: --backend {arguments.backend} cannot be imported: {error}")
    if not (device.is_gpu or arguments.allow_cpu):
        sys.exit(f"gpu.py: {arguments.backend} sees no GPU here; --allow_cpu runs on the processor nevertheless")
    gbps = arguments.peak_gbps or peak_gbps(device)
    rows = []
    for precision in arguments.precisions:
        tflops = arguments.peak_tflops or peak_tflops(device, precision)
        for size, batch in itertools.product(arguments.image_sizes, arguments.batches):
            rows.append(measure(arguments, device, precision, size, batch, (tflops, gbps)))
    print_rows(rows)
    timing.write_json(arguments.json, rows)


def parse() -> argparse.Namespace:
    parser = timing.parser(__doc__, rounds=9)
    parser.add_argument(
        "--backend", choices=("tensorflow", "jax", "torch"), default="tensorflow", help="Keras' backend"
    )
    parser.add_argument("--image_sizes", type=int, nargs="+", default=[224, 448], metavar="PIXELS")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64], metavar="IMAGES")
    parser.add_argument("--precisions", choices=("float32", "bfloat16"), nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--peak_tflops", type=float, help="10^12 operations per second that the device can do")
    parser.add_argument("--peak_gbps", type=float, help="10^9 bytes per second that its memory can move")
    parser.add_argument("--allow_cpu", action="store_true", help="run on the processor where there is no GPU")
    return parser.parse_args()


class Device:
    """What Keras does not say of a backend: whether there is a GPU, how to compile, and when the work is done."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        if backend == "tensorflow":
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
            self._wait = lambda _: tf.test.experimental.sync_devices()
        elif backend == "jax":
            import jax

            names = [d.device_kind for d in jax.devices() if d.platform == "gpu"]
            self._wait = jax.block_until_ready
        else:
            import torch

            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            self._wait = lambda _: torch.cuda.synchronize() if names else None
        self.is_gpu = bool(names)
        self.name = names[0] if names else "CPU"

    def compile(self, function: Run) -> Run:
        """Compiles a function of one tensor."""
        if self.backend == "tensorflow":
            import tensorflow as tf

            return tf.function(function, jit_compile=True)  # type: ignore[no-any-return]
        if self.backend == "jax":
            import jax

            return jax.jit(function)  # type: ignore[no-any-return]
        import torch

        return torch.no_grad()(torch.compile(function))  # type: ignore[no-any-return]

    def compile_model(self, model: Any) -> Run:
        if self.backend != "jax":
            return self.compile(lambda images: model(images, training=False))
        import jax

        # Weights are arguments: as constants they would be folded into the program.
        weights = [[v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]
        compiled = jax.jit(lambda weights, images: model.stateless_call(*weights, images, training=False)[0])
        return lambda images: compiled(weights, images)

    def seconds(self, run: Run, given: Any) -> float:
        """Time of one run, the mean of as many as fill a timing; the queue is full but for its ends."""
        runs = 1
        while True:
            start = time.perf_counter()
            for _ in range(runs):
                result = run(given)
            self._wait(result)
            elapsed = time.perf_counter() - start
            if elapsed >= LEAST:
                return elapsed / runs
            runs = max(runs + 1, int(runs * 1.2 * LEAST / elapsed))


def peak_tflops(device: Device, precision: str) -> float:
    """What the device reaches in a large square product."""
    from keras import ops

    side = 8192 if device.is_gpu else 1024
    matrix = ops.ones((side, side), dtype=precision)
    product = device.compile(lambda m: ops.matmul(m, m))
    return 2 * side**3 / best_of(device, product, matrix) / 1e12


def peak_gbps(device: Device) -> float:
    """What its memory reaches in a large copy; bytes read and bytes written both count."""
    from keras import ops

    count = 2 ** (28 if device.is_gpu else 24)
    copy = device.compile(lambda values: values + 1)  # a mere copy might be left out
    return 2 * 4 * count / best_of(device, copy, ops.ones((count,), dtype="float32")) / 1e9


def best_of(device: Device, run: Run, given: Any) -> float:
    device.seconds(run, given)  # compiles
    return min(device.seconds(run, given) for _ in range(3))


def measure(
    arguments: argparse.Namespace, device: Device, precision: str, size: int, batch: int, peaks: tuple[float, float]
) -> Row:
    import keras
    from keras import ops

    generator = np.random.default_rng(arguments.seed)
    keras.utils.set_random_seed(arguments.seed)
    bare, encoder = build(precision, size, arguments.clusters, arguments.dim, generator)
    images = ops.convert_to_tensor(generator.uniform(-128, 128, (batch, size, size, 3)).astype(np.float32))
    runs = [device.compile_model(model) for model in (bare, encoder)]
    for run in runs:
        device.seconds(run, images)  # compiles
    times = np.array([[device.seconds(run, images) for run in runs] for _ in range(arguments.rounds)])
    bare_rate, encoder_rate = batch / np.median(times, axis=0)
    operations, moved = np.array(list(count_work(encoder, batch))).T
    tflops, gbps = peaks
    least = np.maximum(operations / (tflops * 1e12), moved / (gbps * 1e9)).sum()  # seconds per image
    return Row(
        device.backend,
        device.name,
        precision,
        size,
        batch,
        float(bare_rate),
        float(encoder_rate),
        encoder_to_bare=float(np.median(times[:, 0] / times[:, 1])),
        gflop_per_image=float(operations.sum() / 1e9),
        megabytes_per_image=float(moved.sum() / 1e6),
        peak_tflops=tflops,
        peak_gbps=gbps,
        share_of_roofline=float(least * encoder_rate),
    )


def build(precision: str, size: int, clusters: int, dim: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """The network up to the layer, and the same with the encoding behind it."""
    import keras

    from tfvlad.encoding.keras_layers import VLAD, LocalFeatures, Whitening

    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(size, size, 3))
    bare = keras.Model(network.inputs, network.get_layer(LAYER).output)
    channels = bare.output_shape[-1]
    centroids = generator.uniform(0, channels**-0.5, (clusters, channels)).astype(np.float32)
    projection = generator.standard_normal((clusters * channels, dim), dtype=np.float32)
    # The encoding is in float32 whatever the network computes in, as in `tfvlad.Encoder`.
    features = LocalFeatures()(bare.output)
    vlads = VLAD(clusters, centroids=centroids)(features)
    whitened = Whitening(dim, projection, np.zeros(dim, np.float32))(vlads)
    return bare, keras.Model(network.inputs, whitened)


def count_work(model: Any, batch: int) -> Iterator[tuple[float, float]]:
    """Each layer's floating-point operations and bytes, per image; weights are read once for a batch.

    Args:
      model: its layers have one input and one output.
      batch: images.
    """
    for layer in model.layers[1:]:
        values = [np.prod(shape[1:]) for shape in (layer.input.shape, layer.output.shape)]
        item = 2 if layer.compute_dtype == "bfloat16" else 4  # bytes of a value
        moved = item * (sum(values) + layer.count_params() / batch)
        yield operations_of(layer), float(moved)


def operations_of(layer: Any) -> float:
    """Floating-point operations of a layer's products, per image; two for a multiplication and its addition."""
    match type(layer).__name__:
        case "Conv2D":
            return float(2 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3]))
        case "VLAD":  # scores, and sums through one-hot members
            return float(2 * 2 * np.prod(layer.input.shape[1:]) * layer.clusters)
        case "Whitening":
            return float(2 * layer.input.shape[1] * layer.dim)
        case _:
            return 0.0


def print_rows(rows: list[Row]) -> None:
    first = rows[0]
    timing.print_table(
        f"{first.backend} on {first.device}, VGG16 to {LAYER}",
        ("", "bare images/s", "encoder images/s", "to bare", "GFLOP", "MB", "TFLOP/s", "GB/s", "of roofline"),
        (
            (
                f"{row.precision}, {row.image_size} px, batch {row.batch}",
                f"{row.bare_images_per_second:.1f}",
                f"{row.encoder_images_per_second:.1f}",
                f"{row.encoder_to_bare:.3f}",
                f"{row.gflop_per_image:.2f}",
                f"{row.megabytes_per_image:.1f}",
                f"{row.peak_tflops:.2f}",
                f"{row.peak_gbps:.0f}",
                f"{row.share_of_roofline:.2f}",
            )
            for row in rows
        ),
    )


if __name__ == "__main__":
    main()
