from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from helpers.command_results import REASONS, Command, Result, assert_listed, document, done, refusal

import tfvlad
from tfvlad.index._graph_recall import GraphRecall
from tfvlad.index.catalog import Catalog

Synchronise = Callable[..., Result]


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """The first five photographs, free to be changed."""
    copies = tmp_path / "photos"
    copies.mkdir()
    for path in sorted(photos.iterdir())[:5]:
        shutil.copy(path, copies)
    return copies


@pytest.fixture
def index_of(command: Command, encoder: Path, tmp_path: Path) -> Synchronise:
    """Brings an index of its own in line with folders; flags follow them."""

    def synchronise(*folders_and_flags: object) -> Result:
        images = [f"--images={given}" if isinstance(given, Path) else given for given in folders_and_flags]
        path = tmp_path / "index"
        encoder_flag = [] if path.exists() else [f"--encoder={encoder}"]  # needed only to make it
        return command("index", "--index", path, *encoder_flag, *images)

    return synchronise


def report(added: int = 0, updated: int = 0, removed: int = 0, unchanged: int = 0, failed: Any = ()) -> dict[str, Any]:
    counts = {"added": added, "updated": updated, "removed": removed, "unchanged": unchanged}
    return {**counts, "failed": list(failed)}


def test_the_index_follows_the_folder(index_of: Synchronise, folder: Path, photos: Path) -> None:
    assert document(index_of(folder, "--format=json")) == report(added=5)
    assert document(index_of(folder, "--format=json")) == report(unchanged=5)
    (folder / "000.jpg").unlink()
    shutil.copy(photos / "007.jpg", folder / "001.jpg")
    shutil.copy(photos / "005.jpg", folder / "005.jpg")
    assert document(index_of(folder, "--format=json")) == report(added=1, updated=1, removed=1, unchanged=3)


def test_counts_as_text(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    out = done(index_of(folder))
    assert out == f"5 added, 0 updated, 0 removed, 0 unchanged; {tmp_path}/index holds 5 images\n"


def test_what_is_indexed_is_not_encoded_again(
    index_of: Synchronise, folder: Path, encoder: Path, request: pytest.FixtureRequest
) -> None:
    done(index_of(folder))
    request.getfixturevalue("no_encoding")
    assert document(index_of(folder, "--format=json")) == report(unchanged=5)
    assert document(index_of(folder, f"--encoder={encoder}", "--format=json")) == report(unchanged=5)


def test_the_right_encoder_may_be_named_again(
    index_of: Synchronise, folder: Path, photos: Path, encoder: Path, other_encoder: Path
) -> None:
    done(index_of(folder))
    shutil.copy(photos / "006.jpg", folder)
    said = refusal(index_of(folder, f"--encoder={other_encoder}"))
    assert "was made with the encoder " in said
    assert "make a new index for that" in said
    assert document(index_of(folder, f"--encoder={encoder}", "--format=json")) == report(added=1, unchanged=5)


def test_broken_images_are_reported_each_time(index_of: Synchronise, broken: Path) -> None:
    failed = [{"path": str(broken / name), "reason": REASONS[name]} for name in sorted(REASONS)]
    for counts in ({"added": 5}, {"unchanged": 5}):
        indexed = index_of(broken, "--format=json")
        assert document(indexed, status=1) == report(**counts, failed=failed)
        assert_listed(indexed, *(broken / name for name in REASONS))
    assert_listed(index_of(broken), *(broken / name for name in REASONS))


def test_broken_images_are_tried_again_when_they_change_or_when_told(
    index_of: Synchronise, broken: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document(index_of(broken, "--format=json"), status=1)
    tried: list[bytes] = []
    describe_stream = tfvlad.Encoder.describe_stream

    def watch(self: tfvlad.Encoder, sources: Iterable[bytes]) -> Any:
        return describe_stream(self, (tried.append(source) or source for source in sources))  # type: ignore[func-returns-value]

    monkeypatch.setattr(tfvlad.Encoder, "describe_stream", watch)
    assert len(document(index_of(broken, "--format=json"), status=1)["failed"]) == 3
    assert tried == []
    assert len(document(index_of(broken, "--format=json", "--retry_failed"), status=1)["failed"]) == 3
    assert sorted(tried) == sorted((broken / name).read_bytes() for name in REASONS)
    shutil.copy(photos / "006.jpg", broken / "cut.jpg")
    now = index_of(broken, "--format=json")
    assert document(now, status=1)["added"] == 1
    assert_listed(now, broken / "empty.png", broken / "text.jpg")


def test_several_folders_and_the_same_twice(index_of: Synchronise, folder: Path, queries: Path) -> None:
    assert document(index_of(folder, queries, "--format=json")) == report(added=13)
    assert document(index_of(folder, folder, "--format=json")) == report(unchanged=5)  # the other folder stays
    assert "overlaps" in refusal(index_of(folder.parent))


def test_a_folder_that_is_gone_or_empty_keeps_its_images_until_told(
    index_of: Synchronise, folder: Path, queries: Path
) -> None:
    done(index_of(folder, queries))
    for path in folder.iterdir():
        path.unlink()
    assert "holds no image any more, and the index holds 5 of its images; relocate" in refusal(index_of(folder))
    folder.rmdir()
    assert "is missing, and the index holds 5 of it" in refusal(index_of(folder))
    assert document(index_of(folder, "--allow_empty", "--format=json")) == report(removed=5)


def test_an_index_may_start_in_an_empty_folder_and_empty_where_that_is_allowed(
    command: Command, index_of: Synchronise, encoder: Path, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "inbox").mkdir()
    assert "inbox holds no image" in refusal(index_of(tmp_path / "inbox", f"--encoder={encoder}"))
    assert not list((tmp_path / "index").iterdir())
    out = document(index_of(tmp_path / "inbox", f"--encoder={encoder}", "--allow_empty", "--format=json"))
    assert out == report()
    found = document(command("search", f"--index={tmp_path}/index", folder / "000.jpg", "--format=json"))
    assert found == [{"query": str(folder / "000.jpg"), "hits": []}]
    said = refusal(command("evaluate", f"--index={tmp_path}/index", f"--queries={folder}"))
    assert "the index has no image to match the queries of" in said


def test_the_settings_of_the_graph_are_the_flags(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    done(index_of(folder, "--m=5", "--ef_construction=50", "--ef_search=20"))
    catalog = Catalog(str(tmp_path / "index"))
    assert catalog.config == tfvlad.IndexConfig(m=5, ef_construction=50, ef_search=20)
    catalog.close()


def test_ef_search_is_chosen_for_a_target_recall(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    out = done(index_of(folder, "--target_recall=0.9"))
    assert out.splitlines()[1:] == ["ef_search 100: recall@10 is 1.0000 for 5 queries near the index's own images"]
    found = document(index_of(folder, "--target_recall=0.9", "--format=json"))
    assert found.pop("verification") == {
        "recall": 1.0, "k": 10, "queries": 5, "ef_search": 100, "target_recall": 0.9, "target_met": True,
    }  # fmt: skip
    assert found == report(unchanged=5)
    assert "--target_recall" in refusal(index_of(folder, "--target_recall=1.5"))


def test_a_target_recall_out_of_reach(index_of: Synchronise, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = GraphRecall(0.75, 10, 500, 8192, 0.99, target_met=False)
    monkeypatch.setattr(tfvlad.Index, "verify", lambda self, target_recall: missed)
    result = index_of(folder, "--target_recall=0.99")
    assert result.status == 1
    assert result.err == (
        "--target_recall=0.99 is out of reach: with ef_search 8192, recall@10 is 0.7500 for 500 queries near the"
        " index's own images; a new index with larger --m and --ef_construction finds more\n"
    )


def test_another_writer_is_waited_for_by_the_user(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    done(index_of(folder))
    catalog = Catalog(str(tmp_path / "index"))
    with catalog.sole_writer():
        assert "is being written to already; try again when that is done" in refusal(index_of(folder))
    catalog.close()


def test_what_was_indexed_before_an_interruption_stays(
    index_of: Synchronise, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe_stream = tfvlad.Encoder.describe_stream

    def interrupted(self: tfvlad.Encoder, sources: Iterable[bytes]) -> Iterator[Any]:
        for number, row in enumerate(describe_stream(self, sources)):
            if number == 2:
                raise KeyboardInterrupt
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(tfvlad.Encoder, "describe_stream", interrupted)
        assert index_of(folder) == (130, "", "tfvlad index: interrupted\n")
    assert document(index_of(folder, "--format=json")) == report(added=3, unchanged=2)


def test_a_download_does_not_reach_standard_output(
    command: Command, folder: Path, queries: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras reports the download of weights there, where programs expect one JSON document."""

    def downloading(**settings: Any) -> keras.Model:
        sys.stdout.write("Downloading data from https://example.org/vgg16.h5\n")
        tiny = keras.models.load_model(network)
        inputs = keras.Input((None, None, 3))
        return keras.Model(inputs, keras.layers.Activation("linear", name="block4_conv2")(tiny(inputs)))

    monkeypatch.setattr(keras.applications, "VGG16", downloading)
    flags = ["--image_size=64", "--clusters=4", "--dim=4"]
    fitted = command("fit", "--images", folder, "--encoder", tmp_path / "e", *flags)
    assert (fitted.status, fitted.out.count("\n")) == (0, 1)
    line = ["--index", tmp_path / "i", "--format=json"]
    indexed = command("index", "--images", folder, "--encoder", tmp_path / "e", *line)
    assert document(indexed) == report(added=5)
    assert "Downloading" in indexed.err
    found = command("search", *line, queries / "003.jpg")
    assert [one["query"] for one in document(found)] == [str(queries / "003.jpg")]
    assert "Downloading" in found.err
    assert document(command("evaluate", *line, "--queries", folder, "--ground_truth", _truth(tmp_path)))["queries"] == 1


def _truth(folder: Path) -> Path:
    path = folder / "truth.json"
    path.write_text('{"000.jpg": {"ok": ["001.jpg"]}}')
    return path


def test_an_index_can_be_moved_with_its_photographs(
    command: Command, index_of: Synchronise, folder: Path, tmp_path: Path
) -> None:
    done(index_of(folder))
    moved = tmp_path / "moved"
    moved.mkdir()
    os.rename(tmp_path / "index", moved / "index")
    os.rename(folder, moved / "photos")
    query = moved / "photos" / "002.jpg"
    found = document(command("search", "--index", moved / "index", "--k=1", "--format=json", query))
    assert [hit["path"] for hit in found[0]["hits"]] == [str(query)]


def test_views_and_local_features_are_added_and_removed(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    def kept() -> tuple[list[str], int]:
        with Catalog(str(tmp_path / "index")).read() as snapshot:
            names = {view.view for view in snapshot.views_of_content(digest)}
            return sorted(names), len(snapshot.images_with_local_features())

    digest = hashlib.sha256((folder / "000.jpg").read_bytes()).digest()
    assert document(index_of(folder, "--format=json", "--nolocal_features")) == report(added=5)
    assert kept() == (["whole"], 0)
    now = document(index_of(folder, "--format=json", "--local_features=100", "--views=rotations:2"))
    assert now == report(unchanged=5) | {"completed": 5}
    assert kept() == (["turn 180", "whole"], 5)
    assert document(index_of(folder, "--format=json")) == report(unchanged=5)  # as the index has them
    assert "5 unchanged; " in done(index_of(folder, "--views=whole", "--nolocal_features"))
    assert kept() == (["whole"], 0)


def test_verdicts_are_calibrated_when_told(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    assert document(index_of(folder, "--format=json")) == report(added=5)
    measured = document(index_of("--calibrate", "--format=json"))
    assert set(measured) == {*report(), "thresholds"}
    assert list(measured["thresholds"]) == ["same", "likely", "unsure", "different"]
    said = done(index_of(folder, "--calibrate")).splitlines()[-1]
    assert said.startswith("local features that must agree: ")
    assert said.endswith("(not measured, as there are too few images)")


def test_an_index_that_keeps_no_local_features_cannot_be_calibrated(
    index_of: Synchronise, folder: Path, tmp_path: Path
) -> None:
    done(index_of(folder, "--nolocal_features"))
    assert refusal(index_of("--calibrate")) == (
        f"tfvlad index: {tmp_path}/index keeps no local features to be calibrated on"
    )


def test_an_index_alone_brings_its_folders_up_to_date(index_of: Synchronise, folder: Path) -> None:
    done(index_of(folder))
    (folder / "000.jpg").unlink()
    assert document(index_of("--format=json")) == report(removed=1, unchanged=4)


def test_moved_files_are_neither_added_nor_removed(
    index_of: Synchronise, folder: Path, request: pytest.FixtureRequest
) -> None:
    done(index_of(folder))
    request.getfixturevalue("no_encoding")
    (folder / "later").mkdir()
    (folder / "000.jpg").rename(folder / "later" / "000.jpg")
    (folder / "001.jpg").rename(folder / "first.jpg")
    shutil.copy(folder / "002.jpg", folder / "copy.jpg")
    assert document(index_of("--format=json")) == report(added=1, unchanged=3) | {"moved": 2}
    assert "2 moved" not in done(index_of())


def test_a_folder_that_was_renamed(
    index_of: Synchronise, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    done(index_of(folder))
    request.getfixturevalue("no_encoding")
    folder.rename(tmp_path / "holidays")
    assert "is missing, and the index holds 5 of its images; relocate says where it is now" in refusal(index_of())
    told = done(index_of(f"--relocate={folder}={tmp_path / 'holidays'}"))
    assert told == f"{folder} is {tmp_path / 'holidays'} now\n{tmp_path / 'index'} holds 5 images\n"
    assert document(index_of("--format=json")) == report(unchanged=5)
    with tfvlad.Index.open(tmp_path / "index") as index:
        assert [path for _, _, path in index.images()] == sorted(map(str, (tmp_path / "holidays").iterdir()))


def test_a_folder_is_not_relocated_onto_another(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    done(index_of(folder, other))
    assert "is another folder of the index" in refusal(index_of(f"--relocate={folder}={other}"))
    inside = folder / "inside"
    inside.mkdir()
    assert "overlaps" in refusal(index_of(f"--relocate={other}={inside}"))


def test_a_folder_is_forgotten(index_of: Synchronise, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "000.jpg", other)
    done(index_of(folder, other))
    shutil.rmtree(folder)
    told = document(index_of(f"--forget={folder}", "--format=json"))
    assert told == report() | {"forgotten": {str(folder): 5}}
    with tfvlad.Index.open(tmp_path / "index") as index:
        assert [folder.path for folder in index.folders()] == [str(other)]
        assert [hit.path for hit in index.search(other / "000.jpg")[0]] == [str(other / "000.jpg")]
    assert (other / "000.jpg").exists()


def test_a_new_index_without_an_encoder_fits_one(
    command: Command, folder: Path, network_flags: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "index"
    line = ["index", "--index", path, "--images", folder]
    made = command(*line, *network_flags, "--clusters=4")
    assert made.status == 0
    assert "5 added" in made.out
    assert "Note: 5 images are too few for a whitening; fit anew on more than 256 for 256" in made.err
    assert "New encoder: " in made.err
    assert "fitted on 5 images" in made.err
    with tfvlad.Index.open(path) as index:
        assert index.search(folder / "003.jpg", k=1)[0][0].path == str(folder / "003.jpg")
        assert index.encoder.whitening is None  # type: ignore[union-attr]
    assert "5 unchanged" in done(command(*line))
    told = refusal(command(*line, *network_flags))
    assert "has its encoder: leave out --backbone, --image_size, --layer, --preprocessing" in told


def test_an_encoder_is_given_or_fitted_not_both(command: Command, encoder: Path, folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    told = refusal(command("index", "--index", new, "--images", folder, "--encoder", encoder, "--clusters=4"))
    assert "gets the encoder of --encoder: leave out --clusters" in told
    assert not new.exists()
