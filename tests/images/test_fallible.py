"""Failures inside a graph are values, and stop nobody else."""

from __future__ import annotations

import random

import numpy as np
import tensorflow as tf
from helpers.damaged_images import KINDS, damage, whole_images

from tfvlad.errors import ImageError
from tfvlad.images._decoding import attempt
from tfvlad.images.loading import ImageLoader


def root(number: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(number >= 0, ["negative"])]):
        return tf.fill([2], tf.sqrt(number))


def test_a_result_or_its_replacement() -> None:
    result, succeeded = attempt(root, tf.constant(9.0), tf.constant([7.0]))
    assert (result.numpy().tolist(), bool(succeeded)) == ([3, 3], True)
    result, succeeded = attempt(root, tf.constant(-9.0), tf.constant([7.0]))
    assert (result.numpy().tolist(), bool(succeeded)) == ([7], False)


@tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
def roots(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    largest = tf.reduce_max(numbers)  # captured

    def one(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        result, succeeded = attempt(lambda given: root(given) / largest, number, tf.zeros([2]))
        return result[0], succeeded

    outputs = (tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.bool))
    return tf.map_fn(one, numbers, fn_output_signature=outputs)


def test_each_of_many_by_itself() -> None:
    results, succeeded = roots(tf.constant([16.0, -1.0, 4.0, -2.0]))
    assert results.numpy().tolist() == [4 / 16, 0, 2 / 16, 0]
    assert succeeded.numpy().tolist() == [True, False, True, False]


def test_attempts_run_side_by_side() -> None:
    """TensorFlow runs the iterations of a loop with state one after the other."""
    graph = roots.get_concrete_function().graph
    assert {node.op for node in graph.as_graph_def().node if "While" in node.op} == {"StatelessWhile"}


def test_an_image_is_tried_as_it_is_loaded() -> None:
    loader = ImageLoader(32, "fit", "none")
    generator, sound = random.Random(5), list(whole_images().values())
    damaged = [damage(generator.choice(sound), kind, generator, sound) for kind in KINDS * 4]
    failures = 0
    for data in [*sound, *damaged, b"x"]:
        image, succeeded = loader.try_bytes(tf.constant(data))
        try:
            expected = loader.load(data)
        except ImageError:
            assert not succeeded
            failures += 1
        else:
            assert succeeded
            np.testing.assert_array_equal(image, expected)
    assert 8 < failures < 47  # of both there are many
