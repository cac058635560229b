"""Image files and pixels: finding them, reading them, and making of them what a network takes.

Folders, files, bytes and arrays enter; upright, resized and scaled tensors leave, one by one or in batches. This is the
one preprocessing: fitting, indexing, searching and the exported model all use it. From the file's bytes on it is
TensorFlow graph code, so that an export holds it as well. What the graph does not decode becomes pixels before.

- `formats` is the one list of formats: suffixes, first bytes, and what decodes them. It does not import TensorFlow.
- `listing` finds image files in a folder. It does not read them, and does not import TensorFlow.
- `libraries` decodes by libraries, in processes of their own, what the graph does not. It does not import TensorFlow.
- `pictures` decodes for pages and comparisons, with Pillow. It does not import TensorFlow.
- `sources` says what an image may be given as: paths, bytes, arrays, PIL images. It does not import TensorFlow.
- `loading` prepares one image: `ImageLoader` reads, decodes, turns upright, resizes and scales.
- `batching` groups prepared images of many sizes into batches, which are decoded ahead on threads.
- `crops` gives an image file, or a box of it, as plain upright pixels.
- `views` renders views of a picture: turned, its middle, parts of it. It does not import TensorFlow until it decodes.
- `renditions` are views as inputs of a network, each at a size of its own.

This package imports `config`, `errors` and nothing else of tfvlad.
"""

Box = tuple[float, float, float, float]  # (x1, y1, x2, y2) in pixels of the upright image; x2 and y2 are not included

__all__ = ["Box"]
