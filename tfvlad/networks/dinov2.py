"""DINOv2 (Oquab et al., TMLR 2024) through KerasHub: the tokens of its patches, after any block, are local features.

A network of KerasHub takes images of one size. Here its blocks run on images of any size: their patches of 14 pixels,
with the position embeddings interpolated to the grid of the patches, as its authors and AnyLoc (Keetha et al., RA-L
2023) do. Pixels beyond the last whole patch of a side are left out.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras

PATCH = 14  # pixels of a side
_GRID = 37  # patches of a side that the position embeddings were trained for: 518 pixels


@keras.saving.register_keras_serializable(package="tfvlad")
class PatchTokens(keras.layers.Layer):  # type: ignore[misc]
    """Turns images, (B, H, W, 3), into the tokens of their patches, (B, 1 + registers + h w, D), h = H // 14.

    The class token comes first and the registers (Darcet et al., ICLR 2024) follow it.
    """

    kernel_size = strides = (PATCH, PATCH)

    def __init__(self, width: int, registers: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.width, self.registers = width, registers

    def build(self, _: Any) -> None:
        self.kernel = self.add_weight(shape=(PATCH, PATCH, 3, self.width), name="kernel")
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros", name="bias")
        self.class_token = self.add_weight(shape=(1, 1, self.width), name="class_token")
        self.positions = self.add_weight(shape=(1, 1 + _GRID * _GRID, self.width), name="positions")
        if self.registers:
            self.register_tokens = self.add_weight(shape=(1, self.registers, self.width), name="register_tokens")

    def call(self, images: Any) -> Any:
        patches = keras.ops.conv(images, self.kernel, strides=PATCH, padding="valid") + self.bias
        batch, height, width = keras.ops.shape(patches)[:3]
        positions = keras.ops.reshape(self.positions[:, 1:], (_GRID, _GRID, self.width))
        down, across = _interpolation(height), _interpolation(width)
        positions = keras.ops.einsum("hi,wj,ijd->hwd", down, across, keras.ops.cast(positions, "float32"))
        patches = keras.ops.reshape(patches + keras.ops.cast(positions, patches.dtype), (batch, -1, self.width))
        first = self.class_token + self.positions[:, :1]
        if self.registers:
            first = keras.ops.concatenate([first, self.register_tokens], axis=1)
        return keras.ops.concatenate([keras.ops.repeat(first, batch, axis=0), patches], axis=1)

    def compute_output_shape(self, images_shape: Any) -> tuple[int | None, ...]:
        height, width = _grid(images_shape)
        count = 1 + self.registers + height * width if height is not None and width is not None else None
        return (images_shape[0], count, self.width)

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config(), width=self.width, registers=self.registers)


@keras.saving.register_keras_serializable(package="tfvlad")
class PatchMap(keras.layers.Layer):  # type: ignore[misc]
    """Lays the tokens of patches out as a map, (B, h, w, D), given the tokens and the images that they are of."""

    kernel_size = (math.inf, math.inf)  # every token has seen all others

    def call(self, tokens: Any, images: Any) -> Any:
        height, width = (side // PATCH for side in keras.ops.shape(images)[1:3])
        patches = tokens[:, -height * width :]
        return keras.ops.reshape(patches, (-1, height, width, tokens.shape[-1]))

    def compute_output_shape(self, tokens_shape: Any, images_shape: Any) -> tuple[int | None, ...]:
        return (tokens_shape[0], *_grid(images_shape), tokens_shape[-1])


def _interpolation(cells: Any) -> Any:
    """Cubic interpolation from the trained grid to so many cells along a side: (cells, `_GRID`) float32.

    Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 1981, with a = -1/2 and the centres
    of the first and last cells half a cell from the border, as in `keras.ops.image.resize`, which takes no size that is
    known only when images are there.
    """
    ours = (keras.ops.arange(cells, dtype="float32") + 0.5) * (_GRID / keras.ops.cast(cells, "float32")) - 0.5
    x = keras.ops.abs(ours[:, None] - keras.ops.arange(_GRID, dtype="float32")[None])
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = keras.ops.where(x < 1, near, keras.ops.where(x < 2, far, 0.0))
    return weights / keras.ops.sum(weights, axis=1, keepdims=True)


def _grid(images_shape: Any) -> tuple[int | None, int | None]:
    """The whole patches of a column and of a row of images, where their sides are known."""
    height, width = (None if side is None else side // PATCH for side in images_shape[1:3])
    return height, width


def _build(
    preset: str,
    blocks: int,
    width: int,
    heads: int,
    *,
    weights: str | None = None,
    include_top: bool = False,
    input_shape: tuple[int | None, ...] = (None, None, 3),
) -> keras.Model:
    """Builds a network, called like those of `keras.applications`.

    Args:
      preset: its name in KerasHub.
      blocks: how many there are.
      width: D, the length of a token.
      heads: heads of each attention.
      weights: ``imagenet`` for those that the preset was published with (trained on other images, LVD-142M), a folder
        that holds a preset, or None.
      include_top: there is no classifier; must be False.
      input_shape: of the images.

    Raises:
      ValueError: there is no classifier.
    """
    if include_top:
        raise ValueError(f"{preset} has no classifier")
    import keras_hub

    if weights is None:
        registers = 4 if "registers" in preset else 0
        published = keras_hub.models.DINOV2Backbone(
            patch_size=PATCH,
            num_layers=blocks,
            hidden_dim=width,
            num_heads=heads,
            intermediate_dim=4 * width,
            use_swiglu_ffn=preset.endswith("giant"),
            num_register_tokens=registers,
            image_shape=(PATCH * _GRID, PATCH * _GRID, 3),
            position_embedding_shape=(PATCH * _GRID, PATCH * _GRID),
        )
    else:
        place = preset if weights == "imagenet" else weights
        published = keras_hub.models.DINOV2Backbone.from_preset(place, image_shape=(PATCH * _GRID, PATCH * _GRID, 3))
    return _of_any_size(published, input_shape)


def _of_any_size(published: Any, input_shape: tuple[int | None, ...]) -> keras.Model:
    """Makes a network of the parts of KerasHub's.

    Its outputs are the maps after each block, ``block_1``, ``block_2`` …, and ``last``, which is the last one's after
    layer normalisation.
    """
    embeddings = published.embeddings
    images = keras.Input(input_shape, name="images")
    tokens_of = PatchTokens(published.hidden_dim, published.num_register_tokens, name="tokens")
    tokens = tokens_of(images)
    projection = embeddings.patch_embeddings.projection
    tokens_of.kernel.assign(projection.kernel)
    tokens_of.bias.assign(projection.bias)
    tokens_of.class_token.assign(embeddings.cls_token)
    if published.num_register_tokens:
        tokens_of.register_tokens.assign(embeddings.register_tokens)
    tokens_of.positions.assign(embeddings.position_embeddings)
    maps = []
    for number, block in enumerate(published.encoder.layers, start=1):
        tokens = block(tokens)
        maps.append(PatchMap(name=f"block_{number}")(tokens, images))
    maps.append(PatchMap(name="last")(published.layernorm(tokens), images))
    return keras.Model(images, maps, name=published.name)


dinov2_small = functools.partial(_build, "dinov2_small", 12, 384, 6)
dinov2_base = functools.partial(_build, "dinov2_base", 12, 768, 12)
dinov2_large = functools.partial(_build, "dinov2_large", 24, 1024, 16)
dinov2_giant = functools.partial(_build, "dinov2_giant", 40, 1536, 24)
dinov2_with_registers_small = functools.partial(_build, "dinov2_with_registers_small", 12, 384, 6)
dinov2_with_registers_base = functools.partial(_build, "dinov2_with_registers_base", 12, 768, 12)
dinov2_with_registers_large = functools.partial(_build, "dinov2_with_registers_large", 24, 1024, 16)
dinov2_with_registers_giant = functools.partial(_build, "dinov2_with_registers_giant", 40, 1536, 24)
