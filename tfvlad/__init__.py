"""Instance-level image retrieval: VLAD over the local features of deep networks.

The names below are loaded when first used, so that ``import tfvlad`` does not import TensorFlow.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from tfvlad._quiet_tensorflow import keep_quiet
from tfvlad.version import __version__

keep_quiet()
# TensorFlow leaves oneDNN out on x86 without AVX-512; its convolutions take a tenth to a half less CPU time.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if TYPE_CHECKING:
    from tfvlad.config import EncoderConfig, IndexConfig
    from tfvlad.encoding.encoder import Encoder
    from tfvlad.errors import (
        ArtifactError,
        ConfigError,
        ImageError,
        MismatchError,
        ServingError,
        TfvladError,
        WeightsError,
    )
    from tfvlad.index.index import Hit, Index

__all__ = [
    "ArtifactError",
    "ConfigError",
    "Encoder",
    "EncoderConfig",
    "Hit",
    "ImageError",
    "Index",
    "IndexConfig",
    "MismatchError",
    "ServingError",
    "TfvladError",
    "WeightsError",
    "__version__",
]

_HOME = {
    "Encoder": "encoding.encoder",
    "EncoderConfig": "config",
    "IndexConfig": "config",
    "Hit": "index.index",
    "Index": "index.index",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
