from __future__ import annotations

from helpers.command_results import Command, document, done


def test_vgg16_by_the_names_of_the_paper(command: Command) -> None:
    facts = document(command("layers", "--backbone=vgg16", "--format=json"))
    assert len(facts) == 18  # 13 convolutions and 5 poolings
    # Convolutions of 3x3 add 2 pixels of their input's stride, poolings of 2x2 add 1 and double the stride:
    # 1 +2 +2 +1 (stride 2) +4 +4 +2 (4) +8 +8 +8 +4 (8) +16 +16 +16 = 92.
    fact = {"layer": "block4_conv3", "alias": "conv4_3", "stride": 8, "receptive_field": 92, "channels": 512}
    assert fact in facts
    head, *rows = done(command("layers", "--backbone=vgg16")).splitlines()
    assert head.split("  ")[0] == "layer"
    assert len(rows) == 18
    assert ["block4_conv3", "conv4_3", "8", "92", "512"] in [row.split() for row in rows]


def test_a_network_in_a_file(command: Command, network: str) -> None:
    # 3x3 at stride 4, then 3x3 at stride 2 on cells 4 pixels apart: 3 + 2 * 4 = 11 pixels, 8 apart.
    assert document(command("layers", "--backbone", network, "--format=json")) == [
        {"layer": "first", "alias": "", "stride": 4, "receptive_field": 3, "channels": 8},
        {"layer": "second", "alias": "", "stride": 8, "receptive_field": 11, "channels": 8},
    ]
    assert done(command("layers", "--backbone", network)) == (
        "layer   in the paper  stride  receptive field  channels\n"
        "first                      4                3         8\n"
        "second                     8               11         8\n"
    )


def test_without_a_network_it_lists_those_that_go_by_a_name(command: Command) -> None:
    networks = document(command("layers", "--format=json"))
    assert {"backbone": "vgg16", "layer": "block4_conv2", "image_size": 256, "preprocessing": "caffe"} in networks
    assert {"googlenet", "resnet50", "mobilenetv3large", "efficientnetv2s", "convnexttiny", "dinov2_base"} <= {
        network["backbone"] for network in networks
    }
    head, *rows, _, hint = done(command("layers")).splitlines()
    assert head.split("  ")[0] == "backbone"
    assert ["vgg16", "block4_conv2", "256", "caffe"] in [row.split() for row in rows]
    assert len(rows) == len(networks)
    assert hint.startswith("`tfvlad layers --backbone NAME` lists the layers of one")
