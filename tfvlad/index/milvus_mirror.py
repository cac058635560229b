"""The mirror in Milvus, a server or Milvus Lite, which is a file.

A collection has the descriptors under their ids, their images and views, and the mark among its properties. See
https://milvus.io/api-reference/pymilvus.
"""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient, MilvusException

from tfvlad.config import IndexConfig
from tfvlad.errors import ServingError
from tfvlad.index.mirror import SECONDS, Rows, host_of, without_password

_PROPERTY = "tfvlad"
_LONGEST_VIEW = 256
_LABELS = 10_000  # in one request to remove
_MOST_HITS = 16_384  # Milvus' own bound


class MilvusMirror:
    """A `tfvlad.index.mirror.Mirror` in Milvus.

    Args:
      url: see `tfvlad.index.mirror.mirror_maker`.
      collection: its name.
      dim: length of a vector.
      config: how the graph is built.

    Raises:
      ConfigError: the URL is none.
      ServingError: there is no Milvus.
    """

    def __init__(self, url: str, collection: str, dim: int, config: IndexConfig) -> None:
        self._shown, self._name, self._dim, self._config = without_password(url), collection, dim, config
        parts = urllib.parse.urlsplit(url)
        if host_of(url):
            port = f":{parts.port}" if parts.port else ""
            user = ":".join(urllib.parse.unquote(part) for part in (parts.username, parts.password) if part)
            options: dict[str, Any] = {
                "uri": f"http://{parts.hostname}{port}",
                "token": user,
                "db_name": parts.path.strip("/"),
            }
        else:
            options = {"uri": os.path.abspath(urllib.parse.unquote(parts.path))}
        with self._told():
            self._client = MilvusClient(timeout=SECONDS, **options)

    def mark(self) -> str | None:
        with self._told():
            if not self._client.has_collection(self._name):
                return None
            return str(self._client.describe_collection(self._name).get("properties", {}).get(_PROPERTY) or "") or None

    def set_mark(self, mark: str) -> None:
        with self._told():
            self._client.flush(self._name)
            self._client.alter_collection_properties(self._name, {_PROPERTY: mark})

    def clear(self) -> None:
        with self._told():
            if self._client.has_collection(self._name):
                self._client.drop_collection(self._name)
            schema = self._client.create_schema(auto_id=False)
            schema.add_field("label", DataType.INT64, is_primary=True)
            schema.add_field("image", DataType.INT64)
            schema.add_field("view", DataType.VARCHAR, max_length=_LONGEST_VIEW)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dim)
            settings = {"M": self._config.m, "efConstruction": self._config.ef_construction}
            index = self._client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="IP", params=settings)
            self._client.create_collection(self._name, schema=schema, index_params=index, consistency_level="Strong")

    def __len__(self) -> int:
        with self._told():
            found = self._client.query(self._name, output_fields=["count(*)"])
            return int(found[0]["count(*)"])

    def add(self, rows: Rows) -> None:
        columns = zip(rows.labels.tolist(), rows.images.tolist(), rows.views, rows.vectors.tolist(), strict=True)
        with self._told():
            self._client.upsert(
                self._name, [dict(zip(("label", "image", "view", "vector"), row, strict=True)) for row in columns]
            )

    def remove(self, labels: NDArray[np.int64]) -> None:
        with self._told():
            for first in range(0, len(labels), _LABELS):
                self._client.delete(self._name, ids=labels[first : first + _LABELS].tolist())

    def search(
        self, queries: NDArray[np.float32], k: int, ef_search: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
        if k > _MOST_HITS:
            return None
        settings = {"params": {"ef": max(k, ef_search)}}
        with self._told():
            found = self._client.search(
                self._name, data=queries.tolist(), limit=k, search_params=settings, output_fields=["label"]
            )
        if any(len(hits) < k for hits in found):
            return None
        scores = np.array([[hit["distance"] for hit in hits] for hits in found], np.float32)
        return scores, np.array([[hit["label"] for hit in hits] for hits in found], np.int64)

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (MilvusException, ConnectionError, OSError) as error:
            said = " ".join(str(getattr(error, "message", error)).split())[:200]
            raise ServingError(f"{self._shown}: Milvus cannot be used: {said}") from None
