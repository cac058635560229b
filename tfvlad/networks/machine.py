"""What computes: the libraries, which decide the last digits, and the processor, which decides the speed."""

from __future__ import annotations

import contextlib
import os
import platform

import keras
import numpy as np
import tensorflow as tf


def libraries() -> str:
    """Such as ``TensorFlow 2.20, Keras 3.11, NumPy 2.2``."""
    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__, "NumPy": np.__version__}
    return ", ".join(f"{name} {'.'.join(version.split('.')[:2])}" for name, version in versions.items())


def processor() -> str:
    """Such as ``AMD EPYC 7B13, 2 cores``, and the GPUs' names: what this process may use."""
    cores = usable_cores()
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as file:
        name = next(line for line in file if line.startswith("model name")).partition(":")[2].strip()
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    return ", ".join([f"{name}, {cores} core{'s' if cores > 1 else ''}", *gpus])


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
