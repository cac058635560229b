from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers.fake_encoder import FakeEncoder, unit_vectors

from tfvlad.index._synced_folders import Root
from tfvlad.index.catalog import Catalog, Stamp, to_blob
from tfvlad.index.index import Index

DIM = 64


def test_every_copy_is_a_hit_with_the_same_score(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, content in (("a", "one"), ("b", "other"), ("c", "one"), ("d", "one")):
        (photos / f"{name}.jpg").write_text(content)
    with Index.create(tmp_path / "i", FakeEncoder()) as index:
        index.sync(photos)
        [hits] = index.search_descriptors([FakeEncoder().describe(b"one")], k=4)
        assert [Path(hit.path).stem for hit in hits] == ["a", "c", "d", "b"]
        assert hits[0].score == hits[1].score == hits[2].score > hits[3].score
        [hits] = index.search_descriptors([FakeEncoder().describe(b"one")], k=2)
        assert [Path(hit.path).stem for hit in hits] == ["a", "c"]  # equal scores by lower id
        assert len(index) == 4


def test_a_thousand_copies_do_not_keep_the_graph_from_finding_others(tmp_path: Path) -> None:
    """As vectors of their own, they took a quarter of all queries captive: their links lead only to each other."""
    vectors = unit_vectors(3000, DIM)
    contents = np.random.default_rng(0).permutation(np.r_[np.arange(3000), np.zeros(1000, int)])
    with Index.create(tmp_path / "i", FakeEncoder(dim=DIM)) as index:
        catalog = Catalog(str(tmp_path / "i"))
        with catalog.write() as change:
            root = change.put_root(Root(-1, "/nowhere", "../nowhere"))
            for i, content in enumerate(contents.tolist()):
                views = [("whole", to_blob(vectors[content]))]
                change.put_file(root, f"{i}.jpg", Stamp(1, 1), str(content).encode(), views)
        catalog.close()
        queries = vectors[1::15]
        found = index.search_descriptors(queries, k=1)
        assert np.mean([hits[0].score > 0.999 for hits in found]) >= 0.99
        [hits] = index.search_descriptors(vectors[:1], k=1001)
        assert sum(hit.score > 0.999 for hit in hits) == 1001
