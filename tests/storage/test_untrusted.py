"""The first look at files that anybody may have made; hostile encoder folders are in `tests/encoding`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tfvlad.errors import ArtifactError
from tfvlad.storage.untrusted import read_arrays, refuse_links


def test_arrays_come_back(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npz")
    np.savez(path, centroids=np.ones((3, 2), np.float32), mean=np.zeros(2, np.float32))
    arrays = read_arrays(path, {"centroids": (None, 2), "mean": (2,)})
    assert arrays["centroids"].tolist() == [[1, 1]] * 3
    assert arrays["mean"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"mean": (3,)}, r"mean must be float32 of shape \(3,\), got float32 \(2,\)"),
        ({"mean": (None, None)}, "mean must be float32 of shape"),
        ({"other": (2,)}, "must hold other and nothing else"),
        ({"mean": (2,), "more": (1,)}, "must hold mean, more and nothing else"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, shapes: dict[str, tuple[int | None, ...]], reason: str) -> None:
    path = str(tmp_path / "a.npz")
    np.savez(path, mean=np.zeros(2, np.float32))
    with pytest.raises(ArtifactError, match=reason):
        read_arrays(path, shapes)


def test_a_compressed_array_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npz")
    np.savez_compressed(path, mean=np.zeros(1_000_000, np.float32))
    with pytest.raises(ArtifactError, match="mean is compressed"):
        read_arrays(path, {"mean": (None,)})


def test_a_folder_must_hold_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    refuse_links(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="pipe: is a link, or no regular file"):
        refuse_links(str(tmp_path))
    with pytest.raises(ArtifactError, match="nowhere: cannot be listed"):
        refuse_links(str(tmp_path / "nowhere"))
