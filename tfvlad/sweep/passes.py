"""A pass over images: everything that a sweep wants of each, written to disk as it comes, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tfvlad.encoding.engines import overlapped
from tfvlad.errors import ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.evaluation.querying import query_source
from tfvlad.images.loading import Source
from tfvlad.sweep.extraction import LayerBatch, LayerExtractor, Step
from tfvlad.sweep.scratch import Mapped, Progress


def run_pass(
    extractor: LayerExtractor,
    images: Sequence[Query],
    progress: Progress,
    held: Mapped,
    store: Callable[[list[int], LayerBatch], None],
    max_pixels: int,
    advance: Callable[[int], None],
) -> None:
    """Extracts images from the first that is not done; decoding, the network and `store` are at work at once.

    Args:
      extractor: runs the network.
      images: all of the pass's.
      progress: where the pass is; failures of images are noted there.
      held: an array of the file that `store` writes to.
      store: takes a batch, with its positions in `images`.
      max_pixels: see `tfvlad.EncoderConfig`.
      advance: is told of so many more images that are done.
    """
    first = progress.done
    reasons: dict[int, str] = {}  # of boxes that could not be cut out
    stopped = False

    def sources() -> Iterator[Source]:
        for position, image in enumerate(images[first:], first):
            try:
                yield query_source(image, max_pixels)
            except ImageError as error:
                reasons[position] = error.reason
                yield b""

    def take(step: Step) -> int:
        nonlocal stopped
        if stopped:  # what came before this step is not stored
            return 0
        stopped = True
        if isinstance(step, LayerBatch):
            store([first + position for position in step.positions], step)
        elif isinstance(step, tuple):
            position = first + step[0]
            progress.failures[position] = reasons.get(position, step[1].reason)
        else:
            progress.advance(first + step, held)
        stopped = False
        return step if isinstance(step, int) else 0

    before = 0
    try:
        for done in overlapped(extractor.stream(sources()), take):
            if done:
                advance(done - before)
                before = done
    finally:
        progress.save(held)
