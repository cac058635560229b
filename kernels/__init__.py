"""VLAD on the CPU: NumPy arrays in, NumPy arrays out, compiled by Numba. No TensorFlow, no I/O."""

from __future__ import annotations

from tfvlad_kernels.assignment import assign
from tfvlad_kernels.encoder import encode_vlad
from tfvlad_kernels.residuals import cluster_sums

__all__ = ["assign", "cluster_sums", "encode_vlad"]
