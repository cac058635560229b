"""An encoder that runs on a Ray cluster, used by `tfvlad.Index.sync` like one that runs here."""

from __future__ import annotations

import collections
import os
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from tfvlad.cluster._worker import BATCH, RayWorker, packed, require_ray
from tfvlad.encoding.views import Encoded
from tfvlad.errors import ConfigError, ImageError, ServingError
from tfvlad.images.files import read_file
from tfvlad.images.sources import source_name
from tfvlad.images.views import WHOLE, View

if TYPE_CHECKING:
    from tfvlad.encoding.interface import AnyEncoder

_AHEAD = 2  # batches of each worker that are under way


class RayEncoder:
    """Sends image files to workers on a cluster, in order; for `tfvlad.Index.sync` only, which reads the files here.

    A worker that dies, alone or with its machine, is started again elsewhere, and its batch is repeated. What has come
    back is committed by `sync` as always, so that a run that was stopped goes on.

    Args:
      encoder: what the workers run.
      address: of the cluster: ``ray://HOST:10001``, or ``ray`` for the one that this machine belongs to, or one that is
        started here.
      local_features: of the index.
      workers: the number of them; None is one for each core of the cluster.

    Raises:
      ConfigError: Ray is not installed, or the address is none.
      ServingError: there is no cluster.
    """

    def __init__(self, encoder: AnyEncoder, address: str, local_features: int, workers: int | None = None) -> None:
        if address != "ray" and not address.startswith("ray://"):
            raise ConfigError(f"--engine must be ray, or ray://HOST:10001, got {address!r}")
        ray = self._ray = require_ray()
        self._encoder = encoder
        try:
            if not ray.is_initialized():
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers
                ray.init(
                    address if address != "ray" else os.environ.get("RAY_ADDRESS"),
                    log_to_driver=False,
                    logging_level="ERROR",
                    include_dashboard=False if address == "ray" and "RAY_ADDRESS" not in os.environ else None,
                )
            count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            gpus = 1 if ray.cluster_resources().get("GPU", 0) >= count else 0
            actor = ray.remote(RayWorker).options(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=-1)
            # Kept as long as the workers: one that is started again gets the encoder once more.
            self._files = ray.put(packed(encoder))
            self._workers = [
                actor.remote([self._files], encoder.fingerprint, WHOLE.name, local_features, 1) for _ in range(count)
            ]
        except (ray.exceptions.RayError, ConnectionError, OSError, RuntimeError) as error:
            raise ServingError(f"{address}: Ray cannot be used: {_line(error)}") from None

    @property
    def dim(self) -> int:
        """See `tfvlad.Encoder`."""
        return self._encoder.dim

    @property
    def fingerprint(self) -> str:
        """See `tfvlad.Encoder`."""
        return self._encoder.fingerprint

    @property
    def image_size(self) -> int:
        """See `tfvlad.Encoder`."""
        return self._encoder.image_size

    @property
    def max_pixels(self) -> int:
        """See `tfvlad.Encoder`."""
        return self._encoder.max_pixels

    def encode(self, sources: Any) -> Any:
        """Encodes queries, which is done here."""
        return self._encoder.encode(sources)

    def encode_stream(self, sources: Iterable[Any]) -> Generator[Any]:
        """Encodes image files as they come, in order; gives what `sync` stores, or what is wrong with a file."""
        return self._stream(sources, [WHOLE.name])

    def describe_stream(self, sources: Iterable[Any]) -> Generator[Any]:
        """The same as `encode_stream`: the local features come with it."""
        return self._stream(sources, [WHOLE.name])

    def describe_views(self, sources: Iterable[Any], views: Sequence[View], scale: float = 1.0) -> Generator[Any]:
        """The same, for these views."""
        return self._stream(sources, [view.name for view in views])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the encoder that the workers run."""
        self._encoder.save(path)

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            self._ray.kill(worker)

    def _stream(self, sources: Iterable[Any], views: list[str]) -> Generator[Encoded | ImageError]:
        pending: collections.deque[tuple[list[str], list[str | None], Any]] = collections.deque()
        names: list[str] = []
        problems: list[str | None] = []
        contents: list[bytes] = []
        number = 0

        def send() -> None:
            nonlocal names, problems, contents, number
            worker = self._workers[number % len(self._workers)]
            pending.append((names, problems, worker.encode.remote(contents, views) if contents else None))
            names, problems, contents, number = [], [], [], number + 1

        for source in sources:
            names.append(source_name(source))
            try:
                contents.append(source if isinstance(source, bytes) else read_file(source))
                problems.append(None)
            except ImageError as error:
                problems.append(error.reason)
            if len(names) == BATCH:
                send()
            while len(pending) > _AHEAD * len(self._workers):
                yield from self._received(*pending.popleft())
        if names:
            send()
        while pending:
            yield from self._received(*pending.popleft())

    def _received(self, names: list[str], problems: list[str | None], promise: Any) -> Generator[Encoded | ImageError]:
        try:
            answers = iter(cast("list[Encoded | str]", self._ray.get(promise)) if promise is not None else [])
        except self._ray.exceptions.RayError as error:
            raise ServingError(f"the Ray cluster cannot encode: {_line(error)}") from None
        for name, problem in zip(names, problems, strict=True):
            answer = next(answers) if problem is None else problem
            yield ImageError(name, answer) if isinstance(answer, str) else answer


def _line(error: BaseException) -> str:
    """The last line of an error that has passed through Ray, which has the traceback of the other machine before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[-1] if lines else type(error).__name__).split())[:200]
