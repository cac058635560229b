"""The search for duplicates: groups of indexed files that show one picture.

Files with equal bytes share an image in the catalog. Images are compared with those whose descriptors are nearest
(`_similar_pairs`), and pairs are verified by local features and pixels (`_copies`). A group forms around the picture
that is most like its neighbours: every picture of a group is verified against that one, so that no chain of small
differences leads from a picture to another one. Work and memory are linear in the number of images.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tfvlad.index._copies import CopyVerifier, IndexedFile, Link
from tfvlad.index._graph_cache import Graphs
from tfvlad.index._similar_pairs import SimilarPairs, similar_pairs
from tfvlad.index.catalog import Catalog
from tfvlad.index.duplicates import Duplicate, Duplicates
from tfvlad.matching.explanation import box_around, outline

NEIGHBOURS = 20  # of each image that are compared with it
LEAST_COSINE = 0.35
_TRIES = 3  # to verify a picture against the first one of a group, by as many others of the group
_PAGE = 1024  # images whose files are looked up at once

Doubles = NDArray[np.float64]


def find_duplicates(
    catalog: Catalog, graphs: Graphs, index_folder: str, exact_up_to: int, max_pixels: int | None
) -> Duplicates:
    """Finds the groups; see `tfvlad.Index.duplicates`.

    Args:
      catalog: the catalog.
      graphs: lends its graph.
      index_folder: the index folder.
      exact_up_to: descriptors up to which neighbours are found by the exact search.
      max_pixels: an image whose header announces more is not read; None for the usual limit.
    """
    with catalog.read() as snapshot:
        images, kept = len(snapshot.image_ids()), snapshot.kept()
        repeated = snapshot.images_of_several_files().tolist()
    with _bar("Neighbours", images, "images") as advance:
        pairs = similar_pairs(catalog, graphs, exact_up_to, NEIGHBOURS, LEAST_COSINE, advance)
    verifier = CopyVerifier(catalog, index_folder, max_pixels)
    stars = _stars(pairs, verifier)
    alone = set(repeated).difference(*(star for star in stars.values()), stars)
    stars |= {image: {} for image in alone}
    groups = sorted(_as_groups(stars, verifier), key=lambda group: group[0].id)
    notes = []
    if not kept.local_features and images:
        notes.append(
            "The index keeps no local features, so that cropped copies are hardly found: index with --local_features."
        )
    if "rotations" not in kept.views and images:
        notes.append("Copies turned by 90 or 180 degrees are sure to be found in an index with --views rotations:4.")
    failed = sorted(verifier.failures.values())
    return Duplicates(groups, failed, len(pairs), notes)


def _stars(pairs: SimilarPairs, verifier: CopyVerifier) -> dict[int, dict[int, Link]]:
    """Makes groups of pairs.

    The picture that is most like its neighbours and in no group yet takes in its neighbours, then the neighbours of
    these, and so on, each only if it is verified against that one itself. Pictures that are not are left to others.

    Returns:
      The image of each reference, with how it lies in the other images of its group.
    """
    stars: dict[int, dict[int, Link]] = {}
    grouped: set[int] = set()
    refused: set[tuple[int, int]] = set()
    order = pairs.centrality()
    with _bar("Comparing", len(order), "images") as advance:
        for reference in order:
            advance(1)
            if reference in grouped:
                continue
            group: dict[int, Link] = {}
            waiting: list[tuple[int, Doubles]] = [(reference, np.eye(3))]
            tried: dict[int, int] = {}
            while waiting:
                through, to_it = waiting.pop(0)
                near = [
                    one
                    for one in pairs.of(through)
                    if one.image != reference
                    and one.image not in grouped
                    and one.image not in group
                    and tried.get(one.image, 0) < _TRIES
                    and (one.image, reference) not in refused
                ]
                links = verifier.links(reference, through, to_it, near, tried.keys())
                for one, link in zip(near, links, strict=True):
                    tried[one.image] = tried.get(one.image, 0) + 1
                    if link is not None:
                        group[one.image] = link
                        waiting.append((one.image, link.registration.transform))
            refused |= {(reference, image) for image in tried if image not in group}
            if group:
                grouped |= {reference, *group}
                stars |= _around_the_larger(reference, group, verifier) if len(group) == 1 else {reference: group}
    return stars


def _around_the_larger(reference: int, group: dict[int, Link], verifier: CopyVerifier) -> dict[int, dict[int, Link]]:
    """Returns the star of a pair of pictures, with the larger one as its reference."""
    [(other, link)] = group.items()
    if math.prod(verifier.sizes[other]) <= math.prod(verifier.sizes[reference]):
        return {reference: group}
    return {other: {reference: Link(link.registration.inverse(), link.inliers)}}


def _as_groups(stars: Mapping[int, Mapping[int, Link]], verifier: CopyVerifier) -> Iterator[list[Duplicate]]:
    """Makes files of images; those that are gone or have changed are left out, and so are groups of one file."""
    references = sorted(stars)
    for start in range(0, len(references), _PAGE):
        some = references[start : start + _PAGE]
        files = verifier.files([image for reference in some for image in (reference, *stars[reference])])
        for reference in some:
            own = next(iter(files[reference]), None)
            group: list[Duplicate] = []
            if own is not None:
                size = verifier.sizes.get(reference)
                group = [
                    Duplicate(file.path, file.id, "reference" if file is own else "same bytes", file.bytes, size)
                    for file in files[reference]
                ]
                group += sorted(
                    (
                        _described(file, link, verifier.sizes[reference], verifier.sizes[image])
                        for image, link in stars[reference].items()
                        for file in files[image]
                    ),
                    key=lambda one: one.id,
                )
            if len(group) > 1:
                yield group


def _described(file: IndexedFile, link: Link, size: tuple[int, int], own: tuple[int, int]) -> Duplicate:
    """A file of `own` width and height in pixels; the reference, of `size`, lies in it as the link says."""
    how = link.registration
    to_pixels, from_pixels = np.diag([float(side) for side in own]), np.diag([1 / side for side in size])
    linear = to_pixels @ how.transform[:2, :2] @ from_pixels
    there = box_around(outline(np.linalg.inv(how.transform).astype(np.float64))) or (0.0, 0.0, 1.0, 1.0)
    x1, y1, x2, y2 = np.rint(np.array(there) * (*size, *size)).astype(int).tolist()
    return Duplicate(
        file.path,
        file.id,
        "same picture",
        file.bytes,
        own,
        link.inliers,
        how.agreement,
        how.pose.turn,
        math.sqrt(abs(float(np.linalg.det(linear)))),
        how.shared[0],
        (x1, y1, x2 - x1, y2 - y1),
    )


@contextlib.contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """A progress bar that appears after two seconds; gives what advances it."""
    with tqdm(total=total, desc=what, disable=None, delay=2, unit=f" {unit}") as bar:
        yield bar.update
