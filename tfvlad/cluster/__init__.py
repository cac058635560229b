"""Encoding on many machines: with Ray Data into Parquet, and with Ray for `tfvlad index`.

Image files, or a Ray Dataset of them, enter; Parquet leaves, or what `tfvlad.Index.sync` stores. This package may
import `index`, `matching`, `encoding` and `images`. Ray is imported when it is first used, see the extra ``ray``.
"""

from tfvlad.cluster.encoded_files import EncodedFiles
from tfvlad.cluster.ray_data import encode, encode_to_parquet
from tfvlad.cluster.ray_encoder import RayEncoder

__all__ = ["EncodedFiles", "RayEncoder", "encode", "encode_to_parquet"]
