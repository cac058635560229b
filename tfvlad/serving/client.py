"""The client of an encoder that runs in a model server; it is used like an encoder that runs here."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tfvlad.config import MAX_PIXELS
from tfvlad.encoding.interface import REMOTE, Description
from tfvlad.encoding.views import PassFeatures, ViewsDescription, turned_wholes
from tfvlad.errors import ImageError
from tfvlad.images.crops import upright_size
from tfvlad.images.sources import ImageLike, Source, as_sources
from tfvlad.images.views import View, render_views
from tfvlad.named_networks import IMAGE_SIZE
from tfvlad.serving._contents import answered, batches
from tfvlad.serving._requests import Requests

Floats = npt.NDArray[np.float32]
T = TypeVar("T")

_IN_FLIGHT = 2  # requests: one is being answered while the next one's files are read


class RemoteEncoder:
    """An encoder that TensorFlow Serving runs, from what `tfvlad.serving.saved_model.saved_model` wrote.

    Example:
      >>> encoder = RemoteEncoder("grpc://localhost:8500/tfvlad")
      >>> descriptors = encoder.encode(["one.jpg", "another.jpg"])

    Attributes:
      url: the model's address.
      image_size: pixels for which views are rendered here; the server does not tell what it makes of them.
      max_pixels: see `tfvlad.EncoderConfig`. It limits the images that are decoded here: those of which only a box is
        sent, and those that the exported model does not decode.
    """

    def __init__(
        self, url: str, fingerprint: str | None = None, batch: int = 16, timeout: float = 60.0, attempts: int = 5
    ) -> None:
        """Prepares the connection. The server is asked only when something is needed from it.

        Args:
          url: ``grpc://HOST:PORT/NAME`` or ``http://HOST:PORT/v1/models/NAME``, either with ``/versions/N`` behind it.
          fingerprint: the fingerprint of the encoder that must be served there; None accepts any.
          batch: images in a request, at most; there are fewer where the answer would be long.
          timeout: seconds in which a request must be answered: connecting, sending and receiving, with all attempts
            and the pauses between them.
          attempts: how often a request is made while the server is unavailable; after any other failure it is not
            repeated.

        Raises:
          ConfigError: the URL has another form.
        """
        self.url = url
        self.image_size = IMAGE_SIZE
        self.max_pixels = MAX_PIXELS
        self._requests = Requests(url, fingerprint, timeout, attempts)
        self._batch = batch

    @property
    def fingerprint(self) -> str:
        """See `tfvlad.Encoder`."""
        return self._requests.served.fingerprint

    @property
    def dim(self) -> int:
        """See `tfvlad.Encoder`."""
        return self._requests.served.dim

    def encode(self, sources: ImageLike | Iterable[ImageLike]) -> Floats:
        """Encodes images.

        Args:
          sources: see `tfvlad.Encoder.encode`.

        Returns:
          (n, dim) float32, unit length, in the order of the input.

        Raises:
          ImageError: the first image that cannot be encoded.
          ServingError: the server does not answer as it should.
          MismatchError: the server runs another encoder than the expected one.
        """
        rows = []
        for row in self.encode_stream(as_sources(sources)):
            if isinstance(row, ImageError):
                raise row
            rows.append(row)
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def encode_stream(self, sources: Iterable[Source]) -> Generator[Floats | ImageError]:
        """Encodes images as they come, reading only a little ahead; a bad image does not stop the rest.

        Args:
          sources: see `tfvlad.Encoder.encode`.

        Yields:
          For each image, in order, its (dim,) float32 descriptor or what is wrong with it.

        Raises:
          ServingError: the server does not answer as it should.
          MismatchError: the server runs another encoder than the expected one.
        """
        most = min(self._batch, self._requests.most_descriptors)
        yield from self._stream(sources, self._requests.descriptors, most)

    def describe_stream(self, sources: Iterable[Source]) -> Generator[Description | ImageError]:
        """Like `encode_stream`, with the local features; see `tfvlad.Encoder.describe_stream`.

        A server that was exported before its ``local_features`` signature gave descriptors, too, is asked twice.

        Raises:
          ServingError, MismatchError: see `encode_stream`.
        """
        most = min(self._batch, self._requests.most_descriptions)
        yield from self._stream(sources, self._requests.descriptions, most)

    def describe_views(
        self, sources: Iterable[Source], views: Sequence[View], scale: float = 1.0
    ) -> Generator[ViewsDescription | ImageError]:
        """Encodes views of images as they come; see `tfvlad.Encoder.describe_views`.

        Each view is rendered here and sent, and so is the whole picture in each turn, for its local features. The
        server makes them as large as it makes any image, whatever the scale.

        Raises:
          ServingError, MismatchError: see `encode_stream`.
        """
        wholes, pass_of = turned_wholes(views)
        rendered = list(dict.fromkeys([*views, *wholes]))
        begun: collections.deque[tuple[int, int] | ImageError] = collections.deque()  # the size of each, or its error

        def renditions() -> Iterator[Source]:
            for source in sources:
                try:
                    inputs = render_views(source, rendered, lambda: self.image_size, lambda: self.max_pixels)
                    size = upright_size(source)
                except ImageError as error:
                    begun.append(error)
                else:
                    begun.append(size)
                    yield from inputs

        found: list[Description | ImageError] = []
        for result in self.describe_stream(renditions()):
            while isinstance(size := begun[0], ImageError):
                yield size
                begun.popleft()
            found.append(result)
            if len(found) == len(rendered):
                yield _together(dict(zip(rendered, found, strict=True)), views, wholes, pass_of, size)
                begun.popleft()
                found = []
        yield from (error for error in begun if isinstance(error, ImageError))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a new folder that notes which encoder is served where. Using it needs the URL to be given again."""
        fingerprint, dim, _ = self._requests.served
        os.mkdir(path)
        with open(os.path.join(path, REMOTE), "w", encoding="utf-8") as file:
            json.dump({"format": 1, "url": self.url, "fingerprint": fingerprint, "dim": dim}, file, indent=2)
            file.write("\n")

    def close(self) -> None:
        """Closes the connection; the encoder cannot be used afterwards."""
        self._requests.close()

    def _stream(
        self, sources: Iterable[Source], ask: Callable[[list[bytes]], Sequence[T | None]], most: int
    ) -> Generator[T | ImageError]:
        """Asks for images as they come, `most` in a request; None in an answer is an image that cannot be used."""
        pending: collections.deque[concurrent.futures.Future[list[T | ImageError]]] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(_IN_FLIGHT, "tfvlad-request") as pool:
            try:
                for batch in batches(sources, most, self.image_size, self.max_pixels):
                    pending.append(pool.submit(answered, batch, ask))
                    if len(pending) > _IN_FLIGHT:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def _together(
    found: dict[View, Description | ImageError],
    views: Sequence[View],
    wholes: Sequence[View],
    pass_of: Sequence[int],
    size: tuple[int, int],
) -> ViewsDescription | ImageError:
    """Makes one description of the descriptions of a picture's views."""
    described: dict[View, Description] = {}
    for view, result in found.items():
        if isinstance(result, ImageError):
            return result
        described[view] = result
    passes = tuple(PassFeatures(view, described[view].features, view.to_picture(size)) for view in wholes)
    descriptors = np.stack([described[view].descriptor for view in views])
    return ViewsDescription(tuple(views), descriptors, passes, tuple(pass_of), size)
