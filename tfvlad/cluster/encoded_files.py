"""Images that were encoded before, in a Parquet data set, taken by `tfvlad.Index.sync` like an encoder's results."""

from __future__ import annotations

import collections
import hashlib
import json
import os
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import numpy as np

from tfvlad.cluster.parquet import FORMAT, SUFFIX, require_pyarrow
from tfvlad.encoding.views import Encoded
from tfvlad.errors import ArtifactError, ImageError, PassingImageError
from tfvlad.images.files import read_file
from tfvlad.images.sources import source_name
from tfvlad.images.views import WHOLE, View
from tfvlad.matching.local_features import LocalFeatures

_GROUPS = 16  # of rows that are kept in memory
_COLUMNS = ("sha256", "view", "descriptor", "local_features", "error")
_ROUNDING = 1e-3  # of a descriptor's length


class EncodedFiles:
    """What a Parquet data set holds of image files, found by the SHA-256 of their bytes; nothing is encoded.

    Only 16 bytes for each row are in memory. Whatever it holds is checked as if a stranger had written it.

    Args:
      folder: the data set's folder, see `tfvlad.cluster.parquet`.

    Raises:
      ConfigError: pyarrow is not installed.
      ArtifactError: it is no such data set.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        require_pyarrow()
        from pyarrow import ArrowException, parquet

        self.folder = os.fspath(folder)
        if not os.path.isdir(self.folder):
            raise ArtifactError(self.folder, "is not a folder of Parquet files")
        self._parts = sorted(
            os.path.join(self.folder, name) for name in os.listdir(self.folder) if name.endswith(SUFFIX)
        )
        if not self._parts:
            raise ArtifactError(self.folder, f"holds no {SUFFIX} file")
        told, heads, places = None, [], []
        for number, path in enumerate(self._parts):
            try:
                file = parquet.ParquetFile(path)
                held = file.schema_arrow
                said = {name.decode(): value.decode() for name, value in (held.metadata or {}).items()}
                said = {name: value for name, value in said.items() if name.startswith("tfvlad.")}
                if told is None:
                    told, self.dim = said, held.field("descriptor").type.list_size
                if said != told or held.field("descriptor").type.list_size != self.dim:
                    raise ArtifactError(path, "is of another encoder, or other settings, than the parts before it")
                for group in range(file.num_row_groups):
                    digests = file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
                    known = [digest or b"" for digest in digests]
                    heads.append(np.array([_head(digest) for digest in known], np.uint64))
                    places.append(np.full(len(known), number << 32 | group, np.uint64))
            except (ArrowException, OSError, KeyError, AttributeError, UnicodeDecodeError, ValueError) as error:
                raise ArtifactError(
                    path, f"is no part of a tfvlad data set: {' '.join(str(error).split())[:200]}"
                ) from None
        if told is None or told.get("tfvlad.format") != FORMAT or "tfvlad.fingerprint" not in told:
            raise ArtifactError(self.folder, f"is no data set of format {FORMAT} that tfvlad.cluster wrote")
        self.fingerprint, self.views = told["tfvlad.fingerprint"], told.get("tfvlad.views", WHOLE.name)
        try:
            self.local_features = int(json.loads(told.get("tfvlad.local_features", "0")))
        except (ValueError, TypeError):
            raise ArtifactError(self.folder, "does not tell its number of local features") from None
        order = np.argsort(np.concatenate(heads), kind="stable")
        self._heads, self._places = np.concatenate(heads)[order], np.concatenate(places)[order]
        self._read: collections.OrderedDict[int, dict[bytes, dict[str, Any]]] = collections.OrderedDict()
        self.image_size, self.max_pixels = 0, 0

    def encode(self, sources: Any) -> Any:
        """Refuses: queries need an encoder."""
        raise ArtifactError(self.folder, "encodes nothing; open the index with its encoder to search it")

    def encode_stream(self, sources: Iterable[Any]) -> Generator[Any]:
        """Gives what the data set holds of image files, in order, or that it does not hold them."""
        return self._stream(sources, [WHOLE.name])

    def describe_stream(self, sources: Iterable[Any]) -> Generator[Any]:
        """The same: the local features come with it."""
        return self._stream(sources, [WHOLE.name])

    def describe_views(self, sources: Iterable[Any], views: Sequence[View], scale: float = 1.0) -> Generator[Any]:
        """The same, for these views."""
        return self._stream(sources, [view.name for view in views])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Refuses: a data set holds no encoder."""
        raise ArtifactError(self.folder, "holds no encoder; make the index with the one that encoded it (--encoder)")

    def _stream(self, sources: Iterable[Any], views: list[str]) -> Generator[Encoded | ImageError]:
        for source in sources:
            name = source_name(source)
            try:
                content = source if isinstance(source, bytes) else read_file(source)
                yield self._found(hashlib.sha256(content).digest(), views, name)
            except ImageError as error:
                yield error

    def _found(self, digest: bytes, views: list[str], name: str) -> Encoded:
        first, last = (np.searchsorted(self._heads, _head(digest), side=side) for side in ("left", "right"))
        held: dict[Any, Any] = {}
        for place in dict.fromkeys(self._places[first:last].tolist()):
            held |= self._rows_of(int(place)).get(digest, {})
        if not held:
            # Tried again the next time: another data set, or an encoder, may have it.
            raise PassingImageError(name, f"is not in {self.folder}; it was not encoded, or has changed since")
        if None in held:
            raise ImageError(name, held[None])
        lacking = [view for view in views if view not in held]
        if lacking:
            raise PassingImageError(name, f"lacks the view {lacking[0]} in {self.folder}")
        local = next((one for _, one in held.values() if one is not None), None)
        return Encoded(np.stack([held[view][0] for view in views]), local)

    def _rows_of(self, place: int) -> dict[bytes, dict[Any, Any]]:
        """The rows of one group by digest and view, each a descriptor and local features; or an error, under None."""
        if place in self._read:
            self._read.move_to_end(place)
            return self._read[place]
        from pyarrow import ArrowException, parquet

        path = self._parts[place >> 32]
        try:
            rows = parquet.ParquetFile(path).read_row_group(place & 0xFFFFFFFF, columns=list(_COLUMNS))
            found: dict[bytes, dict[Any, Any]] = {}
            for digest, view, descriptor, local, error in zip(
                *(rows[name].to_pylist() for name in _COLUMNS), strict=True
            ):
                if digest is None:
                    continue
                if descriptor is None or view is None:
                    reason = "".join(sign if sign.isprintable() else " " for sign in str(error))[:300]
                    found.setdefault(digest, {})[None] = reason
                    continue
                vector = np.array(descriptor, np.float32)
                if not abs(float(np.linalg.norm(vector)) - 1) < _ROUNDING:
                    raise ValueError("a descriptor has another length than 1")
                if local is not None:
                    LocalFeatures.from_bytes(local, path)
                found.setdefault(digest, {})[view] = vector, local
        except (ArrowException, OSError, ValueError, TypeError) as error:
            raise ArtifactError(path, f"is damaged: {' '.join(str(error).split())[:200]}") from None
        self._read[place] = found
        if len(self._read) > _GROUPS:
            self._read.popitem(last=False)
        return found


def _head(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little")
