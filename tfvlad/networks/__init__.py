"""Keras networks up to one layer, with their weights, and what is known of their layers.

Settings enter; a `tfvlad.networks.backbones.Backbone` leaves: a Keras model from prepared images to the activations of
one layer, with the digest of its weights.

- `requirements` tells what a network needs of the settings. It does not import TensorFlow.
- `layers` finds a layer by its own name or the paper's, and the features before a classifier.
- `backbones` loads a network and cuts it at a layer.
- `weights` puts ImageNet's, a file's or seeded random weights into a network.
- `googlenet` and `dinov2` build the networks that Keras does not bring.
- `googlenet_weights` turns GoogLeNet's published weights into a file that Keras reads.
- `receptive_fields` tells the stride, the receptive field and the channels of every layer.

This package imports `config`, `named_networks`, `errors`, `storage` and nothing else of tfvlad.
"""
