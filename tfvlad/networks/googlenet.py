"""GoogLeNet (Szegedy et al., CVPR 2015), which the paper takes its features from, as BVLC trained it with Caffe.

It has local response normalisation and no batch normalisation. What differs between the published weights, other than
kernels and biases, are weights here, too: how pixels are scaled, whether responses are normalised, and how wide the
windows of the last pooling are. So a file of weights never meets pixels that are not scaled for it, and torchvision's
weights fit as well as Caffe's; see `tfvlad.networks.googlenet_weights`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

# Channels of a module's 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool proj, as in the paper's Table 1; a module that
# is named alone follows a pooling.
_STAGES = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)
_MEAN_BGR = (104.0, 117.0, 123.0)


@keras.saving.register_keras_serializable(package="tfvlad")
class LocalResponseNormalization(keras.layers.Layer):  # type: ignore[misc]
    """Divides each response by a power of those of five neighbouring channels: x / (1 + alpha / 5 Σ x²) ** 0.75.

    It is Caffe's across channels (Krizhevsky et al., NeurIPS 2012, section 3.3, where alpha is not divided by 5). The
    weight ``alpha`` is 0.0001 at first, and 0 where responses are to stay as they are.
    """

    def build(self, _: Any) -> None:
        initial = keras.initializers.Constant(1e-4)
        self.alpha = self.add_weight(name="alpha", shape=(), initializer=initial, trainable=False, autocast=False)

    def call(self, responses: Any) -> Any:
        exact = keras.ops.cast(responses, "float32")  # the squares exceed what float16 can hold
        squares = keras.ops.pad(keras.ops.square(exact), ((0, 0), (0, 0), (0, 0), (2, 2)))
        channels = responses.shape[-1]
        energy = sum(squares[..., first : first + channels] for first in range(5))
        return keras.ops.cast(exact * keras.ops.power(1 + self.alpha / 5 * energy, -0.75), responses.dtype)

    def compute_output_shape(self, responses_shape: Any) -> Any:
        return responses_shape


@keras.saving.register_keras_serializable(package="tfvlad")
class LastPooling(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Max-pooling by windows of 3x3, 2 apart, or by the first 2x2 of each where its weight ``third`` is 0.

    The responses are 0 or above, and padded with a row and a column of zeros.
    """

    def build(self, _: Any) -> None:
        self.third = self.add_weight(name="third", shape=(), initializer="ones", trainable=False)

    def call(self, responses: Any) -> Any:
        first_two = keras.ops.max_pool(responses[:, :-1, :-1], 2, 2)
        return keras.ops.maximum(first_two, self.third * super().call(responses))


def GoogLeNet(  # noqa: N802  named like those of keras.applications
    include_top: bool = True,
    weights: str | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    name: str = "googlenet",
) -> keras.Model:
    """Builds GoogLeNet, called like the functions of `keras.applications`.

    Args:
      include_top: whether the classifier of 1000 classes is wanted; without, the output is that of inception_5b.
      weights: must be None: Keras has none for it.
      input_shape: of the images; None is (None, None, 3). Sides must have 31 pixels or more.
      name: the network's name.

    Returns:
      RGB images, (B, H, W, 3), 0 to 255 -> (B, 1000) probabilities, or (B, h, w, 1024) features, with H / 32 rows.

    Raises:
      ValueError: `weights` is not None.
    """
    if weights is not None:
        raise ValueError(
            f"Keras has no weights {weights} for GoogLeNet; tfvlad convert makes them of BVLC's "
            "bvlc_googlenet.caffemodel or torchvision's googlenet-*.pth"
        )
    images = keras.Input(input_shape or (None, None, 3), name="images")
    x = keras.layers.Conv2D(3, 1, trainable=False, name="pixels")(images)
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = keras.layers.Conv2D(64, 7, strides=2, activation="relu", name="conv1_7x7_s2")(x)
    x = _pool(x, 1)
    x = LocalResponseNormalization(name="pool1_norm1")(x)
    x = _conv(x, 64, 1, "conv2_3x3_reduce")
    x = _conv(x, 192, 3, "conv2_3x3")
    x = LocalResponseNormalization(name="conv2_norm2")(x)
    x = _pool(x, 2)
    for number, modules in enumerate(_STAGES, start=3):
        for module, channels in modules.items():
            x = _inception(x, channels, f"inception_{module}")
        if number < 5:
            x = _pool(x, number, LastPooling if number == 4 else keras.layers.MaxPooling2D)
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(name="pool5")(x)
        x = keras.layers.Dense(1000, activation="softmax", name="loss3_classifier")(x)
    network = keras.Model(images, x, name=name)
    network.get_layer("pixels").set_weights([np.eye(3, dtype=np.float32)[None, None, :, ::-1], -np.array(_MEAN_BGR)])
    return network


def _inception(x: Any, channels: tuple[int, ...], name: str) -> Any:
    one, reduce_three, three, reduce_five, five, proj = channels
    branches = [
        _conv(x, one, 1, f"{name}_1x1"),
        _conv(_conv(x, reduce_three, 1, f"{name}_3x3_reduce"), three, 3, f"{name}_3x3"),
        _conv(_conv(x, reduce_five, 1, f"{name}_5x5_reduce"), five, 5, f"{name}_5x5"),
        _conv(keras.layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x), proj, 1, f"{name}_pool_proj"),
    ]
    return keras.layers.Concatenate(name=name)(branches)


def _conv(x: Any, channels: int, size: int, name: str) -> Any:
    return keras.layers.Conv2D(channels, size, padding="same", activation="relu", name=name)(x)


def _pool(x: Any, number: int, layer: type[keras.layers.MaxPooling2D] = keras.layers.MaxPooling2D) -> Any:
    """Pools windows of 3x3, 2 apart, of which the last of a row or column may have two, as in Caffe."""
    # A zero more is not larger than any response, and a window of three ends where Caffe's last one does.
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"pool{number}_pad")(x)
    return layer(3, 2, name=f"pool{number}_3x3_s2")(x)
