"""A folder of queries as a data set: right answers by equal names, by equal folders, or from a file that lists them."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets._published_files import first_few
from tfvlad.evaluation.datasets.dataset import DatabaseImage, Dataset, Query, Truth
from tfvlad.images.listing import list_images


def plain_folder(
    queries_dir: str | os.PathLike[str],
    database: Iterable[DatabaseImage],
    rule: str | os.PathLike[str],
) -> Dataset:
    """Makes a data set of a folder of queries and of indexed images that are named or described to match.

    `rule` is one of:

    - ``same_name``: images match if their paths, relative to their folders and without suffix, are the same. Query
      ``Canon/017.jpg`` of the folder ``Canon`` matches ``Reference/017.png`` of the folder ``Reference``.
    - ``same_folder``: images match if the first folders of their paths, relative to their folders, have the same name.
      Query ``castle/a.jpg`` matches ``castle/b.jpg`` and ``castle/night/c.jpg``.
    - the path of a JSON file, with paths as above, separated by ``/`` and with their suffixes::

        {"017.jpg": {"ok": ["covers/a.jpg", "covers/b.jpg"], "junk": ["covers/c.jpg"]}, ...}

      ``junk`` may be left out. Images of the query folder that the file does not name are not queries.

    Under each rule, a query that is itself an indexed image (the same file, after symbolic links are resolved) is junk
    for itself, so that a folder can be evaluated against itself: each image is left out of its own ranking.

    Args:
      queries_dir: folder of the query images, searched with its sub-folders.
      database: the indexed images.
      rule: ``same_name``, ``same_folder`` or the path of a JSON file.

    Returns:
      The data set. A query without a match has an empty ``ok``, with which it does not count in the means.

    Raises:
      NotADirectoryError: `queries_dir` is not a folder.
      ConfigError: there is no query or no indexed image, no query has a match, a ``same_folder`` query is in no
        sub-folder, or the JSON file is missing or malformed or names a file that is no query, not indexed, or in
        several indexed folders.
    """
    folder = os.fspath(queries_dir)
    names = [PurePath(name).as_posix() for name in list_images(folder)]
    images = [image._replace(name=PurePath(image.name).as_posix()) for image in database]
    if not names:
        raise ConfigError(f"{folder} has no image to query with")
    if not images:
        raise ConfigError(f"the index has no image to match the queries of {folder} with")
    if rule == "same_name":
        matches, expected = _match_by(_without_suffix, names, images), f"{_without_suffix(names[0])}.*"
    elif rule == "same_folder":
        if stray := [name for name in names if not _first_folder(name)]:
            raise ConfigError(f"same_folder needs every query in a sub-folder of {folder}, got {first_few(stray)}")
        matches, expected = _match_by(_first_folder, names, images), f"{_first_folder(names[0])}/*"
    else:
        matches, expected = _match_named(Path(rule), folder, names, images), 'what its "ok" lists'
    queries = [os.path.join(folder, name) for name in matches]
    ground_truth = _without_self(queries, list(matches.values()), images)
    if not any(truth["ok"] for truth in ground_truth):
        raise ConfigError(
            f"no query of {folder} has a match besides itself under {os.fspath(rule)}: "
            f"{next(iter(matches))} would match {expected}, and the index has, for example, {images[0].name}"
        )
    return Dataset([Query(path) for path in queries], {"all": ground_truth}, images, folder)


def _without_suffix(name: str) -> str:
    return PurePath(name).with_suffix("").as_posix()


def _first_folder(name: str) -> str:
    """Returns the outermost folder that an image is in; empty for none."""
    return name.partition("/")[0] if "/" in name else ""


def _match_by(key: Callable[[str], str], names: Sequence[str], images: Sequence[DatabaseImage]) -> dict[str, Truth]:
    groups: dict[str, list[int]] = defaultdict(list)
    for image in images:
        groups[key(image.name)].append(image.id)
    return {name: {"ok": groups.get(key(name), []), "junk": []} for name in names}


def _match_named(path: Path, folder: str, names: Sequence[str], images: Sequence[DatabaseImage]) -> dict[str, Truth]:
    entries = _read_json(path)
    if missing := sorted(entries.keys() - set(names)):
        raise ConfigError(f"{path} names queries that are no images of {folder}: {first_few(missing)}")
    ids: dict[str, list[int]] = defaultdict(list)
    for image in images:
        ids[image.name].append(image.id)
    named = {name for entry in entries.values() for listed in entry.values() for name in listed}
    if missing := sorted(named - ids.keys()):
        raise ConfigError(
            f"{path} names files that are not indexed: {first_few(missing)}; "
            f"the index has, for example, {images[0].name}"
        )
    if ambiguous := sorted(name for name in named if len(ids[name]) > 1):
        raise ConfigError(f"{path} names files that are in several indexed folders: {first_few(ambiguous)}")
    return {
        query: {kind: [ids[name][0] for name in listed] for kind, listed in entry.items()}
        for query, entry in entries.items()
    }


def _without_self(
    queries: Sequence[str], truths: Sequence[Mapping[str, list[int]]], images: Sequence[DatabaseImage]
) -> list[Truth]:
    """Makes the ids of each query's own file junk, and takes them out of its right answers."""
    ids_of_file: dict[str, list[int]] = defaultdict(list)
    for image in images:
        ids_of_file[os.path.realpath(image.path)].append(image.id)
    ground_truth = []
    for query, truth in zip(queries, truths, strict=True):
        own = ids_of_file.get(os.path.realpath(query), [])
        ok, junk = ([id_ for id_ in truth[kind] if id_ not in own] for kind in ("ok", "junk"))
        ground_truth.append({"ok": ok, "junk": own + junk})
    return ground_truth


def _read_json(path: Path) -> dict[str, dict[str, list[str]]]:
    if path.suffix == ".json" and not path.exists():
        raise ConfigError(f"there is no file {path}")
    if not path.is_file():
        raise ConfigError(f"the rule must be same_name, same_folder or the path of a JSON file, got {path}")
    try:
        entries = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(entries, dict) or not entries:
        raise ConfigError(f'{path} must hold one object, {{"query.jpg": {{"ok": ["image.jpg"]}}, ...}}')
    for query, entry in entries.items():
        _require_entry(path, query, entry)
    return {query: {"ok": entry["ok"], "junk": entry.get("junk", [])} for query, entry in entries.items()}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses a repeated key, of which JSON decoders keep the last."""
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"repeated in one object: {first_few(repeated)}")
    return dict(pairs)


def _require_entry(path: Path, query: str, entry: object) -> None:
    lists = entry if isinstance(entry, dict) else {}
    of_names = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists.values())
    if "ok" not in lists or not lists.keys() <= {"ok", "junk"} or not of_names:
        raise ConfigError(f'{path}: {query} must have a list of paths "ok", may have one "junk", and nothing else')
    repeated = [name for name, count in Counter(lists["ok"] + lists.get("junk", [])).items() if count > 1]
    if repeated:
        raise ConfigError(f"{path}: {query} must list each path once, got {first_few(repeated)} more than once")
