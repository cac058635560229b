"""An encoder without a network: a file's descriptor is random, with the SHA-256 of its bytes as the seed."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfvlad.encoding.interface import Description
from tfvlad.encoding.views import PassFeatures, ViewsDescription, turned_wholes
from tfvlad.errors import ImageError
from tfvlad.images.views import WHOLE, View

LOOK_AHEAD = 3


class FakeEncoder:
    """A stand-in for an encoder, for tests that need no real descriptors.

    Bytes that start with ``bad`` are not an image; bytes that start with ``nan`` get a descriptor of NaN.

    Attributes:
      encoded: the contents that were encoded, in order.
      views: the names of the views that each call of `describe_views` asked for.
      interrupt_after: descriptors after which the stream is interrupted as by Ctrl-C.
    """

    def __init__(self, dim: int = 8, fingerprint: str = "f" * 64, interrupt_after: int | None = None) -> None:
        self.dim = dim
        self.fingerprint = fingerprint
        self.encoded: list[bytes] = []
        self.views: list[tuple[str, ...]] = []
        self.interrupt_after = interrupt_after
        self.image_size, self.max_pixels = 64, 1 << 20

    @classmethod
    def load(cls, path: str, max_pixels: int | None = None) -> FakeEncoder:
        dim, fingerprint = Path(path, "fake.txt").read_text().split()
        return cls(int(dim), fingerprint)

    def save(self, path: str) -> None:
        os.mkdir(path)
        Path(path, "fake.txt").write_text(f"{self.dim} {self.fingerprint}")

    def encode(self, sources: object) -> NDArray[np.float32]:
        one = isinstance(sources, str | bytes | os.PathLike)
        contents = [s if isinstance(s, bytes) else Path(s).read_bytes() for s in ([sources] if one else sources)]
        return np.stack([self.describe(content) for content in contents])

    def encode_stream(self, sources: Iterable[bytes]) -> Iterator[NDArray[np.float32] | ImageError]:
        """Like the real one, reads a few sources ahead in a thread of its own."""
        contents = iter(sources)
        ahead: deque[concurrent.futures.Future[bytes | None]] = deque()
        with concurrent.futures.ThreadPoolExecutor(1) as reader:
            while True:
                while len(ahead) < LOOK_AHEAD:
                    ahead.append(reader.submit(next, contents, None))
                content = ahead.popleft().result()
                if content is None:
                    return
                if len(self.encoded) == self.interrupt_after:
                    raise KeyboardInterrupt
                self.encoded.append(content)
                if content.startswith(b"bad"):
                    yield ImageError("<bytes>", "is no picture")
                else:
                    yield self.describe(content)

    def describe_stream(self, sources: Iterable[bytes]) -> Iterator[Description | ImageError]:
        """Like `encode_stream`; every picture has 64 x 48 pixels and 12 x 12 cells."""
        contents: deque[bytes] = deque()

        def noted() -> Iterator[bytes]:
            for source in sources:
                contents.append(source)
                yield source

        for result in self.encode_stream(noted()):
            content = contents.popleft()
            yield result if isinstance(result, ImageError) else Description(result, self.features(content), (64, 48))

    def describe_views(
        self, sources: Iterable[bytes], views: Sequence[View], scale: float = 1.0
    ) -> Iterator[ViewsDescription | ImageError]:
        """Each view but the whole picture has the descriptor of the content with the view's name behind it."""
        wholes, pass_of = turned_wholes(views)
        self.views.append(tuple(view.name for view in views))
        for source in sources:
            found = next(iter(self.describe_stream([source])))
            if isinstance(found, ImageError):
                yield found
                continue
            content = bytes(source)
            rows = [self.describe(content if view == WHOLE else content + view.name.encode()) for view in views]
            passes = tuple(PassFeatures(view, found.features, view.to_picture(found.size)) for view in wholes)
            yield ViewsDescription(tuple(views), np.stack(rows), passes, tuple(pass_of), found.size)

    def features(self, content: bytes) -> NDArray[np.float32]:
        """Returns the (12, 12, 16) float32 local features of a file with this content."""
        digest = hashlib.sha256(bytes(content)).digest()
        return unit_vectors(144, 16, int.from_bytes(digest[8:12], "little")).reshape(12, 12, 16)

    def describe(self, content: bytes) -> NDArray[np.float32]:
        """Returns the (dim,) float32 descriptor of a file with this content."""
        if content.startswith(b"nan"):
            return np.full(self.dim, np.nan, np.float32)
        seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def unit_vectors(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """Returns (n, dim) float32 random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
