"""From images to descriptors: local features, their aggregation into one vector, and whitening.

Images enter and descriptors leave, (n, dim) float32 of unit length; an `Encoder` is fitted on images, and is kept in a
folder.

- `encoder` holds `Encoder`, which ties the parts together; `files` is its folder.
- `features` runs a network over a stream of images, and keeps what several of its layers give in one pass.
- `aggregation` makes one vector per image of a layer's activations: VLAD, mean, max, GeM, fully connected features.
- `views` is what an encoder gives for several views of a picture.
- `codebook` and `whitening` are what is fitted.
- `keras_layers` is the same mathematics as Keras layers, for GPUs and for exported models.
- `interface` says what an index needs of any encoder, and loads one without importing TensorFlow before that.
- `throughput` measures where an encoder's time goes.

This package imports `networks`, `images`, `storage`, `config`, `errors` and the kernels.
"""
