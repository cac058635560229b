"""The table of the networks that go by a name: where each is built, and what its training asks of the images.

The layers and sizes of VGG16 and InceptionV3 were chosen by measurement on several sets of photographs (see
`docs/guides/networks.md`). On both, layers with a cell every 8 pixels are the best, above all where hits are verified.
For the others no trained weights were at hand: VGG19 takes VGG16's layer, and all other convolutional networks the end
of their last module with a cell every 8 pixels, or what a network with thin modules expands that to. DINOv2 takes the
block after three quarters of the network, as AnyLoc does (Keetha et al., RA-L 2023). `tfvlad sweep` tells which is best
on given images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

Preprocessing = Literal["caffe", "tf", "torch", "none"]

IMAGE_SIZE = 256  # pixels of the longest side, for networks that do not say otherwise


@dataclasses.dataclass(frozen=True)
class NamedNetwork:
    """A network that goes by a name.

    Attributes:
      builder: ``module:function``; the function is called like those of `keras.applications`.
      preprocessing: how its training scaled the pixels; ``none`` where the network does it itself.
      layer: the layer that is taken where none is named.
      image_size: the `tfvlad.EncoderConfig.image_size` where none is given.
      from_keras_hub: whether KerasHub has it, so that its weights may come from a folder that holds a preset.
      fixed_size: pixels of a side where the network takes no other; else None.
      aliases: the paper's name -> the layer's own name.
      fc_layer: the features before the classifier, which the paper compares with.
      fc_size: pixels of a side where those features take no other; else None.
    """

    builder: str
    preprocessing: Preprocessing
    layer: str
    image_size: int = IMAGE_SIZE
    from_keras_hub: bool = False
    fixed_size: int | None = None
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fc_layer: str = "avg_pool"
    fc_size: int | None = None


def _application(name: str, preprocessing: Preprocessing, layer: str) -> NamedNetwork:
    return NamedNetwork(f"keras.applications:{name}", preprocessing, layer)


def _vgg(name: str, convolutions: tuple[int, ...]) -> NamedNetwork:
    aliases = {
        f"conv{block}_{conv}": f"block{block}_conv{conv}"
        for block, convs in enumerate(convolutions, start=1)
        for conv in range(1, convs + 1)
    } | {f"pool{block}": f"block{block}_pool" for block in range(1, 6)}
    network = _application(name, "caffe", "block4_conv2")
    return dataclasses.replace(network, aliases=aliases, fc_layer="fc2", fc_size=224)


def _nasnet(name: str, layer: str, size: int) -> NamedNetwork:
    # Keras pads NASNet's grids by the size of its input, and those of an input of any size do not fit together.
    return dataclasses.replace(_application(name, "tf", layer), image_size=size, fixed_size=size)


def _dinov2(preset: str, blocks: int) -> NamedNetwork:
    layer = f"block_{blocks * 3 // 4}"
    return NamedNetwork(f"tfvlad.networks.dinov2:{preset}", "torch", layer, image_size=448, from_keras_hub=True)


# The paper's GoogLeNet and InceptionV3 have the same three stages (strides 8, 16, 32): the nth module of a stage
# stands for the nth module of that stage. mixed8 only halves the grid, so 5a and 5b are mixed9 and mixed10.
_INCEPTION_ALIASES = {
    "inception_3a": "mixed0",
    "inception_3b": "mixed1",
    "inception_4a": "mixed3",
    "inception_4b": "mixed4",
    "inception_4c": "mixed5",
    "inception_4d": "mixed6",
    "inception_4e": "mixed7",
    "inception_5a": "mixed9",
    "inception_5b": "mixed10",
}

NAMED_NETWORKS: Mapping[str, NamedNetwork] = {
    "vgg16": _vgg("VGG16", (2, 2, 3, 3, 3)),
    "vgg19": _vgg("VGG19", (2, 2, 4, 4, 4)),
    "googlenet": NamedNetwork("tfvlad.networks.googlenet:GoogLeNet", "none", "inception_3b"),
    "inceptionv3": dataclasses.replace(_application("InceptionV3", "tf", "mixed2"), aliases=_INCEPTION_ALIASES),
    "inceptionresnetv2": _application("InceptionResNetV2", "tf", "block35_10_ac"),
    "xception": _application("Xception", "tf", "add_1"),
    "resnet50": _application("ResNet50", "caffe", "conv3_block4_out"),
    "resnet101": _application("ResNet101", "caffe", "conv3_block4_out"),
    "resnet152": _application("ResNet152", "caffe", "conv3_block8_out"),
    "resnet50v2": _application("ResNet50V2", "tf", "conv3_block3_out"),
    "resnet101v2": _application("ResNet101V2", "tf", "conv3_block3_out"),
    "resnet152v2": _application("ResNet152V2", "tf", "conv3_block7_out"),
    "densenet121": _application("DenseNet121", "torch", "conv3_block12_concat"),
    "densenet169": _application("DenseNet169", "torch", "conv3_block12_concat"),
    "densenet201": _application("DenseNet201", "torch", "conv3_block12_concat"),
    "nasnetmobile": _nasnet("NASNetMobile", "normal_concat_3", 224),
    "nasnetlarge": _nasnet("NASNetLarge", "normal_concat_5", 331),
    "mobilenet": _application("MobileNet", "tf", "conv_pw_5_relu"),
    "mobilenetv2": _application("MobileNetV2", "tf", "block_6_expand_relu"),
    "mobilenetv3small": _application("MobileNetV3Small", "none", "activation_1"),
    "mobilenetv3large": _application("MobileNetV3Large", "none", "activation_1"),
    "efficientnetb0": _application("EfficientNetB0", "none", "block4a_expand_activation"),
    "efficientnetb1": _application("EfficientNetB1", "none", "block4a_expand_activation"),
    "efficientnetb2": _application("EfficientNetB2", "none", "block4a_expand_activation"),
    "efficientnetb3": _application("EfficientNetB3", "none", "block4a_expand_activation"),
    "efficientnetb4": _application("EfficientNetB4", "none", "block4a_expand_activation"),
    "efficientnetb5": _application("EfficientNetB5", "none", "block4a_expand_activation"),
    "efficientnetb6": _application("EfficientNetB6", "none", "block4a_expand_activation"),
    "efficientnetb7": _application("EfficientNetB7", "none", "block4a_expand_activation"),
    "efficientnetv2b0": _application("EfficientNetV2B0", "none", "block4a_expand_activation"),
    "efficientnetv2b1": _application("EfficientNetV2B1", "none", "block4a_expand_activation"),
    "efficientnetv2b2": _application("EfficientNetV2B2", "none", "block4a_expand_activation"),
    "efficientnetv2b3": _application("EfficientNetV2B3", "none", "block4a_expand_activation"),
    "efficientnetv2s": _application("EfficientNetV2S", "none", "block4a_expand_activation"),
    "efficientnetv2m": _application("EfficientNetV2M", "none", "block4a_expand_activation"),
    "efficientnetv2l": _application("EfficientNetV2L", "none", "block4a_expand_activation"),
    "convnexttiny": _application("ConvNeXtTiny", "none", "add_5"),
    "convnextsmall": _application("ConvNeXtSmall", "none", "add_5"),
    "convnextbase": _application("ConvNeXtBase", "none", "add_5"),
    "convnextlarge": _application("ConvNeXtLarge", "none", "add_5"),
    "convnextxlarge": _application("ConvNeXtXLarge", "none", "add_5"),
    "dinov2_small": _dinov2("dinov2_small", 12),
    "dinov2_base": _dinov2("dinov2_base", 12),
    "dinov2_large": _dinov2("dinov2_large", 24),
    "dinov2_giant": _dinov2("dinov2_giant", 40),
    "dinov2_with_registers_small": _dinov2("dinov2_with_registers_small", 12),
    "dinov2_with_registers_base": _dinov2("dinov2_with_registers_base", 12),
    "dinov2_with_registers_large": _dinov2("dinov2_with_registers_large", 24),
    "dinov2_with_registers_giant": _dinov2("dinov2_with_registers_giant", 40),
}
