"""The descriptors of an index inside an exported model, and the exact search among them in TensorFlow's graph.

A component is kept as a 16-bit integer, with one scale for each descriptor: as large as float16, and ten times as
exact, because a unit vector's components are all about as large. Cosines are off by some 1e-6 so.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfvlad.errors import ConfigError
from tfvlad.index.contents import Contents
from tfvlad.serving._requests import MOST_HITS

Tensor = Any

MOST_QUERIES = 256  # images in a request: a step holds so many scores of as many descriptors
_BLOCK = 1 << 14  # descriptors that are compared at a time: as float32, these stay in a core's cache
_SPARE = 16  # candidates beyond k whose scores are computed anew, so that rounding loses none
_LARGEST_CODE = 32767
_CODED_AT_ONCE = 1 << 14  # files


class IndexedDescriptors(tf.Module):  # type: ignore[misc]
    """The files of an index and their descriptors, as variables of an exported model.

    Args:
      contents: what the index holds.

    Attributes:
      version: 64 hexadecimal digits, which are those of equal contents only.
      files: the number of files.
      views: the number of descriptors of each.

    Raises:
      ConfigError: the index holds nothing, or a file's id has more than 32 bits.
    """

    def __init__(self, contents: Contents) -> None:
        super().__init__(name="index")
        count, self.views, _dim = contents.descriptors.shape
        if not count:
            raise ConfigError("the index holds no image, so there is nothing to export; run `tfvlad index` first")
        if contents.files[-1] >= 2**31:
            raise ConfigError(f"a file's id is {contents.files[-1]}, and a model server's answers hold ids below 2**31")
        self.files = count
        codes, scales = _coded(contents.descriptors)
        names = [path.encode(errors="replace") for path in contents.paths]
        digest = hashlib.sha256(codes.tobytes() + scales.tobytes() + contents.files.tobytes() + b"\0".join(names))
        self.version = digest.hexdigest()
        # They are read by `value()`: what gathers from a variable itself makes each later read a copy of the whole.
        with tf.device("CPU"):
            self._codes = tf.Variable(codes, trainable=False, name="codes")  # (files, views, dim) int16
            self._scales = tf.Variable(scales, trainable=False, name="scales")  # (files, views) float32
            self._paths = tf.Variable(names, trainable=False, dtype=tf.string, name="paths")
            self._ids = tf.Variable(contents.files.astype(np.int32), trainable=False, name="ids")
        self._block = max(1, _BLOCK // self.views)

    def search(self, descriptors: Tensor, k: Tensor, usable: Tensor) -> dict[str, Tensor]:
        """Finds the k best files of each query by comparing it with every descriptor.

        Args:
          descriptors: (n, dim) float32 of unit length.
          k: (n,) int32, 1 to `MOST_HITS`.
          usable: (n,) bool; False for a query that shall find nothing.

        Returns:
          `paths` (n, m) string, `scores` (n, m) float32 and `ids` (n, m) int32, best first and equal scores by id,
          where m is the largest k, or the number of files where that is smaller; and `found` (n,) int32, how many hits
          of each query are meant. Behind them there are empty paths and zeros.
        """
        in_range = tf.reduce_all((k >= 1) & (k <= MOST_HITS))
        with tf.control_dependencies([tf.debugging.Assert(in_range, [f"k must be 1 to {MOST_HITS}, got", k])]):
            width = tf.minimum(tf.reduce_max(tf.concat([k, [1]], axis=0)), self.files)
        with tf.device("CPU"):
            rows = self._shortlist(descriptors, tf.minimum(width + _SPARE, self.files))
            scores, rows = self._exactly(descriptors, rows, width)
            found = tf.where(usable, tf.minimum(k, self.files), 0)
            there = tf.range(width) < found[:, tf.newaxis]
            return {
                "paths": tf.where(there, tf.gather(self._paths.value(), rows), ""),
                "scores": tf.where(there, scores, 0.0),
                "ids": tf.where(there, tf.gather(self._ids.value(), rows), 0),
                "found": found,
            }

    @tf.function(autograph=True)  # type: ignore[untyped-decorator]
    def _shortlist(self, descriptors: Tensor, depth: Tensor) -> Tensor:
        """The rows, (n, depth) int32, of the files with the best scores in float32; one block of files at a time."""
        count = tf.shape(descriptors)[0]
        best = tf.fill((count, depth), -np.float32(np.inf))
        rows = tf.zeros((count, depth), tf.int32)
        for start in tf.range(0, self.files, self._block):
            tf.autograph.experimental.set_loop_options(
                shape_invariants=[(best, tf.TensorShape([None, None])), (rows, tf.TensorShape([None, None]))]
            )
            codes = tf.cast(self._codes.value()[start : start + self._block], tf.float32)  # (b, views, dim)
            flat = tf.reshape(codes, (-1, codes.shape[-1]))
            scores = tf.matmul(descriptors, flat, transpose_b=True)  # (n, dim) @ (dim, b * views)
            scores *= tf.reshape(self._scales.value()[start : start + self._block], (1, -1))
            scores = tf.reduce_max(tf.reshape(scores, (count, -1, self.views)), axis=2)  # (n, b)
            of_block = tf.broadcast_to(start + tf.range(tf.shape(scores)[1]), tf.shape(scores))
            best, places = tf.math.top_k(tf.concat([best, scores], axis=1), depth)
            rows = tf.gather(tf.concat([rows, of_block], axis=1), places, batch_dims=1)
        return rows

    @tf.function(autograph=True)  # type: ignore[untyped-decorator]
    def _exactly(self, descriptors: Tensor, rows: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of some files in float64, rounded once; so equal descriptors have equal scores.

        Returns:
          (n, width) float32, best first, and the rows of these files, (n, width) int32; equal scores are by row.
        """
        count = tf.shape(descriptors)[0]
        best, best_rows = tf.zeros((count, width)), tf.zeros((count, width), tf.int32)
        for query in tf.range(count):  # one by one, so that the candidates of one are in memory
            candidates = tf.sort(rows[query])
            codes = tf.cast(tf.gather(self._codes.value(), candidates), tf.float64)  # (depth, views, dim)
            products = tf.reduce_sum(codes * tf.cast(descriptors[query], tf.float64), axis=2)
            products *= tf.cast(tf.gather(self._scales.value(), candidates), tf.float64)
            scores, places = tf.math.top_k(tf.cast(tf.reduce_max(products, axis=1), tf.float32), width)
            best = tf.tensor_scatter_nd_update(best, [[query]], [scores])
            best_rows = tf.tensor_scatter_nd_update(best_rows, [[query]], [tf.gather(candidates, places)])
        return best, best_rows


def _coded(descriptors: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Rounds unit vectors: (n, views, dim) int16, and the (n, views) float32 that make them unit vectors again."""
    codes = np.empty(descriptors.shape, np.int16)
    scales = np.empty(descriptors.shape[:2], np.float32)
    for start in range(0, len(descriptors), _CODED_AT_ONCE):
        part = slice(start, start + _CODED_AT_ONCE)
        steps = np.abs(descriptors[part]).max(axis=2, keepdims=True) / _LARGEST_CODE
        np.rint(descriptors[part] / steps, casting="unsafe", out=codes[part])
        scales[part] = 1 / np.linalg.norm(codes[part].astype(np.float64), axis=2)
    return codes, scales
