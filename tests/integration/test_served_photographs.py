"""Parity on real photographs: files through the encoder, bytes through the exported model."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from helpers import image_formats
from PIL import Image

import tfvlad
from tfvlad.images.listing import image_paths
from tfvlad.serving.saved_model import saved_model


@pytest.mark.parametrize("resize", ["stretch", "fit"])
def test_bytes_give_what_the_file_gives(data_dir: Path, resize: str, tmp_path: Path) -> None:
    photographs = image_paths(data_dir / "smvs_dvd" / "E63")[:3]
    config = tfvlad.EncoderConfig(
        backbone=str(data_dir / "squeezenet_imagenet_notop.keras"), preprocessing="caffe", layer="fire8_concat",
        image_size=224, resize=resize, clusters=16, dim=12,
    )  # fmt: skip
    encoder = tfvlad.Encoder.fit(image_paths(data_dir / "smvs_dvd" / "Reference")[:20], config)
    served = tf.saved_model.load(saved_model(encoder, tmp_path / "covers")).signatures["serving_default"]
    for kind, save in image_formats.KINDS.items():
        paths = [tmp_path / f"{kind} {number}" for number in range(len(photographs))]
        for path, photograph in zip(paths, photographs, strict=True):
            with Image.open(photograph) as picture:
                path.write_bytes(save(picture.convert("RGB")))
        told = served(image_bytes=tf.constant([path.read_bytes() for path in paths]))
        cosines = (told["descriptor"].numpy() * encoder.encode(paths)).sum(axis=1)
        print(f"{resize:8} {kind:20} {cosines.min():.7f}")
        assert cosines.min() >= 0.9999, kind
        assert told["valid"].numpy().all()
