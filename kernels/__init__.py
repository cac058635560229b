"""VLAD and verification on the CPU: NumPy arrays in, NumPy arrays out, compiled by Numba. No TensorFlow, no I/O."""

from __future__ import annotations

from tfvlad_kernels.assignment import assign
from tfvlad_kernels.encoder import encode_vlad
from tfvlad_kernels.geometry import Agreement, find_transform
from tfvlad_kernels.matching import Matches, mutual_nearest
from tfvlad_kernels.residuals import cluster_sums
from tfvlad_kernels.verification import Verification, verify, verify_pair

__all__ = [
    "Agreement",
    "Matches",
    "Verification",
    "assign",
    "cluster_sums",
    "encode_vlad",
    "find_transform",
    "mutual_nearest",
    "verify",
    "verify_pair",
]
