from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_encoder import LOOK_AHEAD, FakeEncoder
from helpers.syncing import contents, counts, described, fail_to_open, run, write

from tfvlad.errors import ConfigError, Failure
from tfvlad.index import _folder_changes, _sync
from tfvlad.index._sync import synchronise
from tfvlad.index.catalog import Catalog, Stamp, State


def test_new_changed_and_removed_files(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two", c="three")
    assert counts(run(catalog, photos)) == (3, 0, 0, 0, 0)
    assert contents(catalog) == described(a="one", b="two", c="three")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 0, 0, 3, 0)
    assert encoder.encoded == []
    write(photos, b="second", d="four")
    (photos / "c.jpg").unlink()
    assert counts(run(catalog, photos, encoder=encoder)) == (1, 1, 1, 1, 0)
    assert encoder.encoded == [b"second", b"four"]
    assert contents(catalog) == described(a="one", b="second", d="four")


def test_the_encoder_is_not_asked_for_when_nothing_is_to_encode(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one")
    run(catalog, photos)
    os.utime(photos / "a.jpg", ns=(0, 0))
    shutil.copy(photos / "a.jpg", photos / "b.jpg")

    def encoder() -> FakeEncoder:
        raise AssertionError("the encoder was loaded")

    report = synchronise(catalog, [str(photos)], encoder)
    assert counts(report) == (1, 0, 0, 1, 0)
    assert contents(catalog) == described(a="one", b="one")


def test_a_file_that_was_only_touched_is_read_once_more_and_never_again(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, a="one")
    run(catalog, photos)
    os.utime(photos / "a.jpg", ns=(1, 1))
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 0, 0, 1, 0)
    monkeypatch.setattr(_folder_changes, "read_regular", fail_to_open)
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 0, 0, 1, 0)
    assert encoder.encoded == []


def test_a_renamed_file_is_not_encoded_again(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos)
    (photos / "sub").mkdir()
    (photos / "a.jpg").rename(photos / "sub" / "z.jpg")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 0, 0, 1, 0)
    assert encoder.encoded == []
    expected = described(a="one", b="two")
    assert contents(catalog) == {os.path.join("sub", "z.jpg"): expected["a.jpg"], "b.jpg": expected["b.jpg"]}


def test_swapped_files_get_each_other_s_descriptors(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="second")
    run(catalog, photos)
    write(photos, a="second", b="one")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 2, 0, 0, 0)
    assert encoder.encoded == []
    assert contents(catalog) == described(a="second", b="one")


def test_equal_files_are_encoded_once(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="one", c="bad one", d="bad one", e="one")
    encoder = FakeEncoder()
    report = run(catalog, photos, encoder=encoder)
    assert encoder.encoded == [b"one", b"bad one"]
    assert counts(report) == (3, 0, 0, 0, 2)
    assert contents(catalog) == described(a="one", b="one", e="one")


def test_equal_files_share_their_descriptors_as_long_as_one_is_there(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="one", c="two")
    run(catalog, photos)
    encoder = FakeEncoder()
    for name, descriptors in (("a", 2), ("b", 2)):
        with catalog.read() as snapshot:
            assert snapshot.count_descriptors() == descriptors
        (photos / f"{name}.jpg").unlink()
        run(catalog, photos, encoder=encoder)
    assert contents(catalog) == described(c="two")
    with catalog.read() as snapshot:
        assert snapshot.state() == State(2, 1)
    assert encoder.encoded == []


def test_failures_are_told_each_time_and_tried_again_only_when_asked(catalog: Catalog, photos: Path) -> None:
    write(photos, a="bad", b="good", c="nan")
    encoder = FakeEncoder()
    expected = [
        Failure(str(photos / "a.jpg"), "is no picture"),
        Failure(str(photos / "c.jpg"), "its descriptor is not finite"),
    ]
    report = run(catalog, photos, encoder=encoder)
    assert (counts(report), report.failed) == ((1, 0, 0, 0, 2), expected)
    report = run(catalog, photos, encoder=encoder)
    assert (counts(report), report.failed) == ((0, 0, 0, 1, 2), expected)
    assert encoder.encoded == [b"bad", b"good", b"nan"]
    report = run(catalog, photos, encoder=encoder, retry_failed=True)
    assert (counts(report), report.failed) == ((0, 0, 0, 1, 2), expected)
    assert encoder.encoded[3:] == [b"bad", b"nan"]
    write(photos, a="mended")
    (photos / "c.jpg").unlink()
    assert counts(run(catalog, photos)) == (1, 0, 0, 1, 0)
    assert contents(catalog) == described(a="mended", b="good")


def test_an_image_that_becomes_bad_leaves_the_index(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos)
    write(photos, a="bad now")
    assert counts(run(catalog, photos)) == (0, 0, 0, 1, 1)
    assert contents(catalog) == described(b="two")


def test_an_interrupted_run_keeps_what_was_encoded(catalog: Catalog, photos: Path) -> None:
    write(photos, **{f"f{i:03d}": f"content {i}" for i in range(150)})
    encoder = FakeEncoder(interrupt_after=100)
    with pytest.raises(KeyboardInterrupt):
        run(catalog, photos, encoder=encoder)
    with catalog.read() as snapshot:
        assert snapshot.count_files() == 100
    rest = FakeEncoder()
    assert counts(run(catalog, photos, encoder=rest)) == (50, 0, 0, 100, 0)
    assert rest.encoded == [f"content {i}".encode() for i in range(100, 150)]


def test_it_commits_batch_by_batch(catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(photos, **{f"f{i:03d}": f"content {i}" for i in range(100)})
    seen: list[int] = []

    class Watching(FakeEncoder):
        def describe(self, content: bytes) -> Any:
            with catalog.read() as snapshot:
                seen.append(snapshot.count_files())
            return super().describe(content)

    monkeypatch.setattr(_sync, "_BATCH", 10)
    run(catalog, photos, encoder=Watching())
    assert seen == [i // 10 * 10 for i in range(100)]


def test_files_that_need_no_encoding_are_written_on_the_way(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, **{f"f{i:03d}": f"content {i % 50}" for i in range(100)})
    run(catalog, photos)
    for file in photos.iterdir():
        os.utime(file, ns=(1, 1))
    write(photos, z="new at the end")
    pending: list[int] = []
    commit = _sync._RootSync._commit

    def watch(self: Any) -> None:
        pending.append(len(self._queue) + len(self._batch))
        commit(self)

    monkeypatch.setattr(_sync, "_UNENCODED", 10)
    monkeypatch.setattr(_sync, "_BATCH", 5)
    monkeypatch.setattr(_sync._RootSync, "_commit", watch)
    assert counts(run(catalog, photos)) == (1, 0, 0, 100, 0)
    assert max(pending) <= 10 + LOOK_AHEAD


def test_roots_are_independent(catalog: Catalog, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    write(a, one="one", two="two")
    write(b, one="other")
    assert counts(run(catalog, a, b)) == (3, 0, 0, 0, 0)
    (a / "two.jpg").unlink()
    (b / "one.jpg").unlink()
    assert counts(run(catalog, a)) == (0, 0, 1, 1, 0)
    with catalog.read() as snapshot:
        assert [snapshot.count_files(root.id) for root in snapshot.roots()] == [1, 1]
    assert counts(run(catalog, a, a)) == (0, 0, 0, 1, 0)


def test_a_missing_or_emptied_folder_is_refused_until_allowed(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="bad")
    run(catalog, photos)
    (photos / "a.jpg").unlink()
    (photos / "b.jpg").unlink()
    with pytest.raises(ConfigError, match="holds no image any more, and the index holds 1 of its images; relocate"):
        run(catalog, photos)
    photos.rmdir()
    with pytest.raises(ConfigError, match="is missing, and the index holds 1 of its images; relocate"):
        run(catalog, photos)
    assert counts(run(catalog, photos, allow_empty=True)) == (0, 0, 1, 0, 0)
    with catalog.read() as snapshot:
        assert (snapshot.count_files(), snapshot.failure_ids(1).size) == (0, 0)
    with pytest.raises(ConfigError, match="is not a folder"):
        run(catalog, photos, allow_empty=True)


def test_an_empty_folder_is_no_error_the_first_time(catalog: Catalog, photos: Path) -> None:
    assert counts(run(catalog, photos)) == (0, 0, 0, 0, 0)


def test_folders_are_checked_before_any_work(catalog: Catalog, photos: Path, tmp_path: Path) -> None:
    (photos / "sub").mkdir()
    write(photos, a="one")
    encoder = FakeEncoder()
    for wrong in (photos / "sub", tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match=r"overlaps|is not a folder"):
            run(catalog, photos, wrong, encoder=encoder)
    assert encoder.encoded == []
    with catalog.read() as snapshot:
        assert snapshot.roots() == []


def test_an_encoder_that_loses_images_is_not_believed(catalog: Catalog, photos: Path) -> None:
    class Forgetful(FakeEncoder):
        def encode_stream(self, sources: Iterable[bytes]) -> Iterator[Any]:
            yield from list(super().encode_stream(sources))[:1]

    write(photos, a="one", b="two")
    with pytest.raises(RuntimeError, match="fewer descriptors than it took images"):
        run(catalog, photos, encoder=Forgetful())
    assert contents(catalog) == described(a="one")


def stamped(path: Path, content: str, like: os.stat_result) -> None:
    """Writes a file and sets its date to that of another."""
    path.write_text(content)
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


posix = pytest.mark.skipif(os.name != "posix", reason="the system has no ctime")


@posix
def test_files_of_equal_size_and_date_that_change_places(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two")
    like = (photos / "a.jpg").stat()
    stamped(photos / "b.jpg", "two", like)
    run(catalog, photos)
    (photos / "a.jpg").rename(photos / "c")
    (photos / "b.jpg").rename(photos / "a.jpg")
    (photos / "c").rename(photos / "b.jpg")
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 2, 0, 0, 0)
    assert contents(catalog) == described(a="two", b="one")


@posix
def test_other_bytes_under_a_date_that_was_set_back(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="bad")
    run(catalog, photos)
    stamped(photos / "a.jpg", "two", (photos / "a.jpg").stat())
    stamped(photos / "b.jpg", "new", (photos / "b.jpg").stat())
    assert counts(run(catalog, photos)) == (1, 1, 0, 0, 0)
    assert contents(catalog) == described(a="two", b="new")


@posix
def test_a_file_whose_inode_or_date_is_new_is_read_and_not_encoded(catalog: Catalog, photos: Path) -> None:
    write(photos, a="one", b="two")
    run(catalog, photos)
    (photos / "a.jpg").rename(photos / "old")
    stamped(photos / "a.jpg", "one", (photos / "old").stat())
    os.chmod(photos / "b.jpg", 0o600)
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder)) == (0, 0, 0, 2, 0)
    assert encoder.encoded == []


def test_every_file_is_read_where_that_is_asked_for(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos, a="one", b="two", c="bad")
    stamp = Stamp(3, 1, 1, 1)  # as if nothing could be seen from outside
    monkeypatch.setattr(_folder_changes, "_stamp", lambda status: stamp)
    run(catalog, photos)
    write(photos, a="new", c="six")
    assert counts(run(catalog, photos)) == (0, 0, 0, 2, 1)
    encoder = FakeEncoder()
    assert counts(run(catalog, photos, encoder=encoder, check_content=True)) == (1, 1, 0, 1, 0)
    assert encoder.encoded == [b"new", b"six"]
    assert contents(catalog) == described(a="new", b="two", c="six")
