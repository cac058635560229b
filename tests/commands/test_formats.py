"""Commands on a folder as people have it: files of many formats, and others among them."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from helpers.command_results import Command, document, done, refusal
from helpers.many_formats import HAS_JXL, KINDS, P3, saved
from PIL import Image

from tfvlad.images import _decoding_processes, formats

FILES = {
    "one.heic": "HEIC",
    "two.avif": "AVIF, turned",
    "three.tif": "TIFF, LZW",
    "four.jp2": "JPEG 2000",
    "five.jpg": "JPEG, Display P3",
    "six.TIFF": "TIFF, CMYK",
}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, kind in FILES.items():
        (folder / name).write_bytes(KINDS[kind].data)
    for name in ("film.mov", "other.mov", "notes.txt", ".DS_Store"):
        (folder / name).touch()
    return folder


def test_files_of_many_formats_are_indexed_and_found(
    command: Command, mixed: Path, encoder: Path, tmp_path: Path
) -> None:
    out = done(command("index", "--images", mixed, "--encoder", encoder, "--index", tmp_path / "i"))
    assert out.splitlines() == [
        f"6 added, 0 updated, 0 removed, 0 unchanged; {tmp_path}/i holds 6 images",
        "passed over: 2 .mov, 1 .txt",
    ]
    told = document(command("index", "--index", tmp_path / "i", "--format=json"))
    assert told["passed_over"] == {".mov": 2, ".txt": 1}
    # The query is no file of the index, so that it is encoded.
    query = tmp_path / "query.heif"
    query.write_bytes(KINDS["HEIC, turned"].data)
    page = tmp_path / "page.html"
    for verifier in ("cells", "sift"):
        flags = ["--index", tmp_path / "i", "--format=json", "--k=6", "--html", page, f"--verifier={verifier}"]
        hits = document(command("search", *flags, query))[0]["hits"]
        assert sorted(Path(hit["path"]).name for hit in hits) == sorted(FILES)
        assert all(hit["inliers"] for hit in hits) or verifier == "sift"
    thumbnails = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page.read_text())
    sizes = {Image.open(io.BytesIO(base64.b64decode(data))).size for data in thumbnails}
    assert sizes == {(96, 64)}  # all upright
    done(command("explain", "--index", tmp_path / "i", "--output", tmp_path / "e.html", query, mixed / "two.avif"))


def test_copies_in_other_formats_are_duplicates(
    command: Command, mixed: Path, encoder: Path, photos: Path, tmp_path: Path
) -> None:
    done(command("index", "--images", mixed, "--encoder", encoder, "--index", tmp_path / "i"))
    told = document(command("duplicates", "--index", tmp_path / "i", "--format=json"))
    paths = {Path(file["path"]).name for group in told["groups"] for file in group}
    assert paths == set(FILES)


def test_what_cannot_be_read_is_named(command: Command, mixed: Path, encoder: Path, tmp_path: Path) -> None:
    (mixed / "one.heic").write_bytes(KINDS["HEIC"].data[:500])
    (mixed / "two.avif").write_text("no picture")
    ended = command("index", "--images", mixed, "--encoder", encoder, "--index", tmp_path / "i")
    assert ended.status == 1
    assert f"  {mixed}/one.heic: a damaged or truncated HEIC\n" in ended.err
    assert f"  {mixed}/two.avif: not an image in a known format\n" in ended.err
    assert "4 added" in ended.out


@pytest.mark.skipif(not HAS_JXL, reason="needs pillow-jxl-plugin")
def test_a_missing_library_is_named_and_the_file_tried_again(
    command: Command, mixed: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mixed / "seven.jxl").write_bytes(KINDS["JPEG XL"].data)
    (mixed / "seven again.jxl").write_bytes(KINDS["JPEG XL"].data)
    with monkeypatch.context() as patch:
        patch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "pillow_jxl" else name)
        ended = command("index", "--images", mixed, "--encoder", encoder, "--index", tmp_path / "i")
        assert ended.status == 1
        missing = "JPEG XL files need pillow_jxl: pip install 'tfvlad[jxl]'"
        assert ended.err.splitlines()[1:] == [
            f"  {mixed}/{name}: {missing}" for name in ("seven again.jxl", "seven.jxl")
        ]
        assert missing in refusal(command("search", "--index", tmp_path / "i", mixed / "seven.jxl"))
    assert "2 added" in done(command("index", "--index", tmp_path / "i"))


CRASHING = """
import os
from tfvlad.images import _decoding_process as real

def main():
    answer = real._answer
    real._answer = lambda head, body: os.abort() if b"CRASH" in body else answer(head, body)
    real.main()
"""


def test_a_file_that_crashes_its_library_is_named_and_the_run_goes_on(
    command: Command, mixed: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_decoder.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    processes = _decoding_processes.DecodingProcesses(1, module="crashing_decoder")
    monkeypatch.setattr(_decoding_processes, "_processes", processes)
    (mixed / "a bomb.heic").write_bytes(KINDS["HEIC"].data + b"CRASH")
    flags = ["--images", mixed, "--encoder", encoder, "--index", tmp_path / "i"]
    ended = command("index", *flags)
    assert "6 added" in ended.out
    assert ended.err.splitlines()[1:] == [f"  {mixed}/a bomb.heic: the library that decodes it crashed (SIGABRT)"]
    page = tmp_path / "page.html"
    asked = command("search", "--index", tmp_path / "i", "--html", page, mixed / "a bomb.heic", mixed / "one.heic")
    assert asked.status == 1
    assert "a bomb.heic: the library that decodes it crashed (SIGABRT)" in asked.err
    assert f"{mixed}/one.heic" in asked.out
    processes.close()


def test_fit_tells_what_it_passes_over(
    command: Command, photos: Path, fit_flags: list[str], mixed: Path, tmp_path: Path
) -> None:
    out = done(command("fit", *fit_flags, "--images", photos, "--images", mixed, "--encoder", tmp_path / "e"))
    assert out.splitlines()[1:] == ["passed over: 2 .mov, 1 .txt"]


def test_a_profile_that_is_as_good_as_srgb_changes_no_descriptor(
    command: Command, encoder: Path, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import ImageCms

    import tfvlad

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    loaded = tfvlad.Encoder.load(encoder)
    plain, same, wide = (saved("JPEG", icc_profile=profile) for profile in (None, srgb, P3))
    np.testing.assert_array_equal(loaded.encode([same]), loaded.encode([plain]))
    assert not np.array_equal(loaded.encode([wide]), loaded.encode([plain]))
