"""The client of an exported index: a model server turns the bytes of image files into hits."""

from __future__ import annotations

from collections.abc import Iterable

from tfvlad.config import MAX_PIXELS
from tfvlad.errors import ConfigError, ImageError, MismatchError
from tfvlad.images.sources import ImageLike, as_sources
from tfvlad.index import Hit
from tfvlad.named_networks import IMAGE_SIZE
from tfvlad.serving._contents import answered, batches
from tfvlad.serving._requests import MOST_HITS, Requests


class RemoteIndex:
    """An index that TensorFlow Serving searches, from what ``tfvlad export --index`` wrote; see `saved_model`.

    Every search compares the whole picture with every descriptor: what `tfvlad.Index.search` finds with ``exact=True,
    verify=0, query_views="whole"``. Nothing is verified.

    Args:
      url: ``grpc://HOST:PORT/NAME`` or ``http://HOST:PORT/v1/models/NAME``, either with ``/versions/N`` behind it.
      fingerprint: the fingerprint of the encoder that must be served there; None accepts any.
      version: the version of the index that must be served there, as its folder tells it; None accepts any.
      batch: images in a request, at most.
      timeout: seconds in which a request must be answered: connecting, sending and receiving, with all attempts and
        the pauses between them.
      attempts: how often a request is made while the server is unavailable.

    Raises:
      ConfigError: the URL has another form.

    Example:
      >>> [hits] = RemoteIndex("grpc://localhost:8500/photos").search("query.jpg", k=5)
      >>> hits[0].path, hits[0].score
      ('photos/17.jpg', 0.81)
    """

    def __init__(
        self,
        url: str,
        fingerprint: str | None = None,
        version: str | None = None,
        batch: int = 16,
        timeout: float = 60.0,
        attempts: int = 5,
    ) -> None:
        self.url = url
        self._requests = Requests(url, fingerprint, timeout, attempts)
        self._version = version
        self._batch = batch

    def search(self, queries: ImageLike | Iterable[ImageLike], k: int = 10) -> list[list[Hit]]:
        """Finds the images that are most like each query.

        Args:
          queries: see `tfvlad.Index.search`.
          k: the number of files to find, 1 to 1,000.

        Returns:
          A list of hits, best first, for each query. Their paths begin with the name of the indexed folder.

        Raises:
          ImageError: the first query that cannot be used.
          ConfigError: `k` is out of its range.
          ServingError: the server does not answer as it should.
          MismatchError: the server runs another encoder, or another version of the index, than the expected one.
        """
        if not 1 <= k <= MOST_HITS:
            raise ConfigError(f"k must be 1 to {MOST_HITS}, got {k}")
        hits: list[list[Hit]] = []
        for batch in batches(as_sources(queries), self._batch, IMAGE_SIZE, MAX_PIXELS):
            for answer in answered(batch, lambda contents: self._hits(contents, k)):
                if isinstance(answer, ImageError):
                    raise answer
                hits.append([Hit(path, score, file) for path, score, file in answer])
        return hits

    def close(self) -> None:
        """Closes the connection; the index cannot be searched afterwards."""
        self._requests.close()

    def _hits(self, contents: list[bytes], k: int) -> list[list[tuple[str, float, int]] | None]:
        version, found = self._requests.hits(contents, k)
        if self._version not in (None, version):
            raise MismatchError(f"{self.url} serves version {version[:12]} of the index, not {self._version!s:.12}")
        return found
