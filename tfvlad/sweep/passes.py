"""A pass over images: everything that a sweep wants of each, written to disk as it comes, resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from tfvlad.encoding.features import FeatureBatch, FeatureExtractor
from tfvlad.errors import ImageError
from tfvlad.evaluation.datasets import Query
from tfvlad.evaluation.querying import query_source
from tfvlad.images.batching import Rejected, overlapped
from tfvlad.images.loading import Source
from tfvlad.sweep.extraction import HeadKey
from tfvlad.sweep.scratch import Mapped, Progress

Step: TypeAlias = FeatureBatch[HeadKey] | Rejected | int  # an int: so many images of the input are behind us


def run_pass(
    extractor: FeatureExtractor[HeadKey],
    images: Sequence[Query],
    progress: Progress,
    held: Mapped,
    store: Callable[[list[int], FeatureBatch[HeadKey]], None],
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
        if isinstance(step, FeatureBatch):
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
        for done in overlapped(_steps(extractor, sources()), take):
            if done:
                advance(done - before)
                before = done
    finally:
        progress.save(held)


def _steps(extractor: FeatureExtractor[HeadKey], sources: Iterable[Source]) -> Iterator[Step]:
    """Extracts a batch at a time, as all the outputs of a window would take too much memory."""
    done = 0
    for window in extractor.batches(sources):
        for batch in window:
            yield from extractor.extracted(batch)
            done += 1 if isinstance(batch, tuple) else len(batch.positions)
        yield done
