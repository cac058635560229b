"""What is possible at one image size, as far as numbers tell: of cells of a map, channels, and images to fit on."""

from __future__ import annotations

import math

from tfvlad.config import EncoderConfig
from tfvlad.encoding.codebook import images_to_sample, share
from tfvlad.sweep.networks import FC, Network, output_shapes
from tfvlad.sweep.plan import Grid, Stream, streams


class Limits:
    """The settings of one image size.

    Attributes:
      network: the network at this size.
      image_size: pixels.
      grid: what is to be tried.
      streams: the descriptors of all settings.
      shapes: layer -> (h, w, C), or (D,) of fully connected features: the largest that an image gives. Layers for
        which these are too few pixels are not there.
    """

    def __init__(
        self, network: Network, image_size: int, layers: list[str], grid: Grid, config: EncoderConfig, fit_on: int
    ) -> None:
        """Takes the network, its layers with maps, settings, and how many images there are to fit on."""
        self.network = network
        self.image_size = image_size
        self.grid = grid
        self.streams = streams(grid, layers, has_fc=FC in network.outputs)
        self.shapes = {
            layer: shapes[0]
            for layer in dict.fromkeys(stream.layer for stream in self.streams)
            if (shapes := output_shapes(network.cut([layer]), image_size, image_size))
        }
        self._samples = config.codebook_samples
        self._sampled = len(images_to_sample(fit_on, config.codebook_samples, seed=0))
        self._whitened = min(fit_on, config.whitening_samples)

    def why_not(self, stream: Stream, dim: int) -> str:
        """Why a setting is not possible; empty where it is."""
        if stream.layer not in self.shapes:
            return f"{self.image_size}x{self.image_size} pixels are too few for this layer"
        features = math.prod(self.samples(stream.layer)[:2]) if stream.encoding == "vlad" else 0
        if stream.clusters > features:
            return f"{features} local features of the images to fit on do not make {stream.clusters} clusters"
        if dim > self.length(stream):
            return f"the whole descriptor has only {self.length(stream)} dimensions"
        if dim and dim >= self._whitened:
            return f"PCA of {self._whitened} images gives {self._whitened - 1} dimensions at most"
        return ""

    def first_reason(self) -> str:
        """Why no setting is possible; empty where one is."""
        reasons = [self.why_not(stream, dim) for stream in self.streams for dim in self.grid.dims]
        return reasons[0] if reasons and all(reasons) else ""

    def depth(self, layer: str) -> int:
        """Channels of a layer, or dimensions of the fully connected features."""
        return int(self.shapes[layer][-1])

    def length(self, stream: Stream) -> int:
        """Numbers in a whole descriptor."""
        return self.depth(stream.layer) * max(1, stream.clusters)

    def encoder_bytes(self, stream: Stream, dim: int) -> int:
        """What an encoder of a setting holds beside its network: the codebook, and a projection with its offset."""
        codebook = stream.clusters * self.depth(stream.layer)
        return 4 * (codebook + (self.length(stream) + 1) * dim)

    def samples(self, layer: str) -> tuple[int, int, int]:
        """The shape of a layer's sample for the codebooks: images, features of each at most, channels."""
        height, width, depth = self.shapes[layer]
        return self._sampled, min(share(self._sampled, self._samples), height * width), depth
