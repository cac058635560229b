"""The client of an encoder that runs in a model server; it is used like an encoder that runs here."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvlad.config import MAX_PIXELS, EncoderConfig
from tfvlad.encoding.interface import REMOTE, Description
from tfvlad.encoding.views import PassFeatures, ViewsDescription, turned_wholes
from tfvlad.errors import ImageError, MismatchError, ServingError
from tfvlad.images.crops import upright_size
from tfvlad.images.loading import Source, as_sources, read_file, rgb_pixels, source_name
from tfvlad.images.views import View, render_views
from tfvlad.serving._transports import UnavailableError, transport

Floats = npt.NDArray[np.float32]
T = TypeVar("T")

_BATCH_BYTES = 16 * 2**20  # of one request, unless a single image is larger
_DESCRIBED = 4  # images in a request that asks for local features, at most: an answer has megabytes for each
_IN_FLIGHT = 2  # requests: one is being answered while the next one's files are read
_PAUSE = 0.1  # seconds before the second try; doubled for each further one

_Batch = list[tuple[str, bytes | ImageError]]


class _ServedEncoder(NamedTuple):
    """What a server says of its encoder."""

    fingerprint: str
    dim: int
    signature: str  # a name that only this encoder has, so that an exchange behind the URL cannot go unnoticed


class RemoteEncoder:
    """An encoder that TensorFlow Serving runs, from what `tfvlad.serving.saved_model.saved_model` wrote.

    Example:
      >>> encoder = RemoteEncoder("grpc://localhost:8500/tfvlad")
      >>> descriptors = encoder.encode(["one.jpg", "another.jpg"])

    Attributes:
      url: the model's address.
      image_size: pixels for which views are rendered here; the server does not tell what it makes of them.
      max_pixels: see `tfvlad.EncoderConfig`. It limits the images that are decoded here: those of which only a box is
        sent.
    """

    def __init__(
        self, url: str, fingerprint: str | None = None, batch: int = 16, timeout: float = 60.0, attempts: int = 5
    ) -> None:
        """Prepares the connection. The server is asked only when something is needed from it.

        Args:
          url: ``grpc://HOST:PORT/NAME`` or ``http://HOST:PORT/v1/models/NAME``, either with ``/versions/N`` behind it.
          fingerprint: the fingerprint of the encoder that must be served there; None accepts any.
          batch: images in a request, at most.
          timeout: seconds that a request may take.
          attempts: how often a request is made while the server is unavailable; after any other failure it is not
            repeated.

        Raises:
          ConfigError: the URL has another form.
        """
        self.url = url
        self.image_size = EncoderConfig.image_size
        self.max_pixels = MAX_PIXELS
        self._transport = transport(url)
        self._expected = fingerprint
        self._batch, self._timeout, self._attempts = batch, timeout, attempts

    @property
    def fingerprint(self) -> str:
        """See `tfvlad.Encoder`."""
        return self._served.fingerprint

    @property
    def dim(self) -> int:
        """See `tfvlad.Encoder`."""
        return self._served.dim

    def encode(self, sources: Source | Iterable[Source]) -> Floats:
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
        yield from self._stream(sources, self._descriptors, self._batch)

    def describe_stream(self, sources: Iterable[Source]) -> Generator[Description | ImageError]:
        """Like `encode_stream`, with the local features; see `tfvlad.Encoder.describe_stream`.

        A server that was exported before its ``local_features`` signature gave descriptors, too, is asked twice.

        Raises:
          ServingError, MismatchError: see `encode_stream`.
        """
        yield from self._stream(sources, self._descriptions, min(self._batch, _DESCRIBED))

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
        fingerprint, dim, _ = self._served
        os.mkdir(path)
        with open(os.path.join(path, REMOTE), "w", encoding="utf-8") as file:
            json.dump({"format": 1, "url": self.url, "fingerprint": fingerprint, "dim": dim}, file, indent=2)
            file.write("\n")

    def close(self) -> None:
        """Closes the connection; the encoder cannot be used afterwards."""
        self._transport.close()

    @functools.cached_property
    def _served(self) -> _ServedEncoder:
        """What the server says of its encoder, checked against the fingerprint that is expected."""
        answer = self._ask("info", "probe", [b""])
        try:
            fingerprint, signature = _text(answer["fingerprint"][0]), _text(answer["signature"][0])
            served = _ServedEncoder(fingerprint, int(answer["dim"][0]), signature)
        except (KeyError, IndexError, ValueError):
            raise ServingError(f"{self.url}: what is served there is no exported encoder") from None
        if self._expected not in (None, served.fingerprint):
            raise MismatchError(
                f"{self.url} serves the encoder {served.fingerprint[:12]}, not {str(self._expected)[:12]}"
            )
        return served

    def _stream(
        self, sources: Iterable[Source], ask: Callable[[list[bytes]], Sequence[T | None]], most: int
    ) -> Generator[T | ImageError]:
        """Asks for images as they come, `most` in a request; None in an answer is an image that cannot be used."""
        _ = self.fingerprint  # before the first image is sent
        pending: collections.deque[concurrent.futures.Future[list[T | ImageError]]] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(_IN_FLIGHT, "tfvlad-request") as pool:
            try:
                for batch in self._batches(sources, most):
                    pending.append(pool.submit(_answered, batch, ask))
                    if len(pending) > _IN_FLIGHT:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _batches(self, sources: Iterable[Source], most: int) -> Iterator[_Batch]:
        batch: _Batch = []
        size = 0
        for source in sources:
            content = _content(source)
            added = 0 if isinstance(content, ImageError) else len(content)
            if batch and (len(batch) == most or size + added > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append((source_name(source), content))
            size += added
        if batch:
            yield batch

    def _descriptors(self, contents: list[bytes]) -> list[Floats | None]:
        answer = self._ask(self._served.signature, "image_bytes", contents)
        return self._checked(answer, len(contents))

    def _descriptions(self, contents: list[bytes]) -> list[Description | None]:
        answer = self._ask("local_features", "image_bytes", contents)
        features, grids = np.asarray(answer.get("features"), np.float32), np.asarray(answer.get("grid"), np.int64)
        if "descriptor" in answer:
            told = {_text(value) for value in np.asarray(answer.get("fingerprint")).ravel().tolist()}
            if told != {self.fingerprint}:
                raise MismatchError(f"{self.url} serves another encoder than {self.fingerprint[:12]} now")
            descriptors = self._checked(answer, len(contents))
        else:  # exported by an earlier release
            descriptors = self._descriptors(contents)
        if not features.size and not grids.any():  # JSON drops the lengths that come behind a length of 0
            features = np.zeros((len(features), 0, 0, 0), np.float32)
        if features.ndim != 4 or len(features) != len(contents) or grids.shape != (len(contents), 2):
            raise ServingError(f"{self.url}: {len(contents)} images were asked for, the answer is {features.shape}")
        results: list[Description | None] = []
        for content, descriptor, cells, (height, width) in zip(contents, descriptors, features, grids, strict=True):
            if descriptor is None or not (height and width):
                results.append(None)
            else:
                results.append(Description(descriptor, cells[:height, :width], upright_size(content)))
        return results

    def _checked(self, answer: dict[str, npt.NDArray[Any]], count: int) -> list[Floats | None]:
        descriptors, valid = np.asarray(answer.get("descriptor"), np.float32), np.asarray(answer.get("valid"), bool)
        if descriptors.shape != (count, self.dim) or valid.shape != (count,):
            raise ServingError(f"{self.url}: {count} images were asked for, the answer is {descriptors.shape}")
        return [row if usable else None for row, usable in zip(descriptors, valid, strict=True)]

    def _ask(self, signature: str, name: str, values: list[bytes]) -> dict[str, npt.NDArray[Any]]:
        inputs = {name: np.array(values, object)}
        for attempt in range(1, self._attempts):
            try:
                return self._transport.predict(signature, inputs, self._timeout)
            except UnavailableError:
                time.sleep(_PAUSE * 2 ** (attempt - 1))
        return self._transport.predict(signature, inputs, self._timeout)


def _answered(batch: _Batch, ask: Callable[[list[bytes]], Sequence[T | None]]) -> list[T | ImageError]:
    """Asks for those of a batch that could be read, and puts the answers beside the errors of the others."""
    contents = [content for _, content in batch if isinstance(content, bytes)]
    answers = iter(ask(contents) if contents else [])
    results: list[T | ImageError] = []
    for name, content in batch:
        answer = content if isinstance(content, ImageError) else next(answers)
        unusable = ImageError(name, "the server cannot use it: damaged, too small, or of another format")
        results.append(unusable if answer is None else answer)
    return results


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


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _content(source: Source) -> bytes | ImageError:
    """Makes what is sent for a source: its file's bytes, or its pixels as a PNG, which is lossless."""
    try:
        if isinstance(source, np.ndarray):
            return bytes(tf.io.encode_png(rgb_pixels(source)).numpy())
        content = source if isinstance(source, bytes) else read_file(source)
    except ImageError as error:
        return error
    return content or ImageError(source_name(source), "an empty file")
