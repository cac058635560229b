from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import pytest
from helpers.command_results import REASONS, Command, assert_listed, done, refusal

import tfvlad


def fingerprint(out: str) -> str:
    found = re.search(r"fingerprint ([0-9a-f]{12})\n$", out)
    assert found, out
    return found[1]


def test_an_encoder_is_fitted_with_the_settings_of_the_flags(
    command: Command, photos: Path, network: str, tmp_path: Path
) -> None:
    path = tmp_path / "made" / "on" / "the" / "way.encoder"
    out = done(
        command(
            "fit", "--encoder", path, "--images", photos, "--backbone", network, "--layer=first",
            "--preprocessing=torch", "--image_size=48", "--resize=fit", "--clusters=3", "--nointra_norm",
            "--power=0.5", "--dim=5", "--shrinkage=0.2", "--codebook_samples=100", "--whitening_samples=7",
        )
    )  # fmt: skip
    assert out.startswith(f"{path}: {network} first, 48 px, 3 clusters, 5 dimensions, fitted on 8 images, fingerprint ")
    encoder = tfvlad.Encoder.load(path)
    assert encoder.config == tfvlad.EncoderConfig(
        backbone=network, layer="first", preprocessing="torch", image_size=48, resize="fit", clusters=3,
        intra_norm=False, power=0.5, dim=5, shrinkage=0.2, codebook_samples=100, whitening_samples=7,
    )  # fmt: skip
    assert encoder.fingerprint.startswith(fingerprint(out))
    assert [entry.name for entry in path.parent.iterdir()] == ["way.encoder"]


def test_few_images_give_fewer_dimensions_and_a_note(
    command: Command, photos: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    flags = [flag for flag in fit_flags if not str(flag).startswith("--dim")]
    result = command("fit", *flags, "--images", photos, "--encoder", tmp_path / "e")
    assert (result.status, result.err) == (
        0, "Note: 8 images allow 7 dimensions at most; fit anew on more than 256 for 256\n",
    )  # fmt: skip
    assert tfvlad.Encoder.load(tmp_path / "e").config.dim == 7
    assert "dim=9 is too large: 8 images" in refusal(
        command("fit", *flags, "--images", photos, "--encoder", tmp_path / "e", "--dim=9")
    )


def test_without_whitening_the_whole_vlad_is_left(
    command: Command, photos: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    # 4 clusters of 8 channels: 32 dimensions.
    out = done(command("fit", *fit_flags, "--images", photos, "--encoder", tmp_path / "e", "--dim=0"))
    assert ", 32 dimensions, fitted on 8 images" in out
    assert tfvlad.Encoder.load(tmp_path / "e").whitening is None


def test_another_encoding_is_chosen_by_a_flag(
    command: Command, photos: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    line = ["fit", *fit_flags, "--images", photos, "--encoder", tmp_path / "e", "--dim=3"]
    out = done(command(*line, "--encoding=gem"))
    assert ", 64 px, GeM pooling, 3 dimensions, fitted on 8 images" in out
    assert tfvlad.Encoder.load(tmp_path / "e").config.encoding == "gem"
    assert "--encoding=fisher: must be vlad or mean or max or gem or fc" in refusal(command(*line, "--encoding=fisher"))


def test_a_seed_reproduces_the_fingerprint_and_a_new_fit_replaces_the_old_one(
    command: Command, photos: Path, fit_flags: list[str], tmp_path: Path, encoder: Path
) -> None:
    line = ["fit", *fit_flags, "--images", photos, "--encoder", tmp_path / "e"]
    first = fingerprint(done(command(*line)))
    other = fingerprint(done(command(*line, "--seed=1")))
    assert tfvlad.Encoder.load(tmp_path / "e").fingerprint.startswith(other)
    again = fingerprint(done(command(*line, "--seed=0")))
    assert first == again != other
    assert [entry.name for entry in tmp_path.iterdir()] == ["e"]
    # The library, with the same settings, fits the same encoder.
    assert tfvlad.Encoder.load(encoder).fingerprint.startswith(first)


def test_an_image_counts_once_whatever_leads_to_it(
    command: Command, photos: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    collection = tmp_path / "collection"
    shutil.copytree(photos, collection / "photos")
    (collection / "link").symlink_to(collection / "photos" / "000.jpg")
    (collection / "linked.jpg").symlink_to(collection / "photos" / "000.jpg")
    line = ["fit", *fit_flags, "--encoder", tmp_path / "e"]
    out = done(command(*line, "--images", collection, "--images", collection / "photos", f"--images={collection}/"))
    assert "fitted on 8 images" in out


def test_several_folders_are_fitted_on_together(
    command: Command, photos: Path, queries: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    line = ["fit", *fit_flags, "--encoder", tmp_path / "e"]
    assert "fitted on 16 images" in done(command(*line, "--images", photos, "--images", queries))


def test_broken_images_are_listed_once_and_the_rest_is_fitted(
    command: Command, broken: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    fitted = command("fit", *fit_flags, "--images", broken, "--encoder", tmp_path / "e", "--dim=2")
    assert_listed(fitted, *(broken / name for name in REASONS))
    assert ", 2 dimensions, fitted on 5 images, " in fitted.out
    assert tfvlad.Encoder.load(tmp_path / "e").dim == 2


def test_dim_is_held_against_the_images_that_can_be_used(
    command: Command, broken: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    said = refusal(command("fit", *fit_flags, "--images", broken, "--encoder", tmp_path / "e", "--dim=5"))
    assert "dim=5 is too large: 5 images and vectors of 32 dimensions give 4 at most" in said
    assert not (tmp_path / "e").exists()


def test_nothing_but_broken_images_is_a_refusal(
    command: Command, broken: Path, fit_flags: list[str], tmp_path: Path
) -> None:
    for photograph in broken.glob("0*.jpg"):
        photograph.unlink()
    said = refusal(command("fit", *fit_flags, "--images", broken, "--encoder", tmp_path / "e", "--dim=2"))
    assert said == (
        f"tfvlad fit: none of the 3 images can be used; the first is {broken}/cut.jpg: a damaged or truncated JPEG"
    )


def test_settings_come_from_a_flagfile(command: Command, photos: Path, fit_flags: list[str], tmp_path: Path) -> None:
    lines = ["# The network", *fit_flags, "", "// The images", f"--images={photos}", "--frobnicate"]
    flagfile = tmp_path / "fit.flags"
    flagfile.write_text("\n".join(lines[:-1]))
    assert "4 dimensions, fitted on 8 images" in done(
        command("fit", f"--flagfile={flagfile}", "--encoder", tmp_path / "e")
    )
    flagfile.write_text("\n".join(lines))
    refused = command("fit", f"--flagfile={flagfile}", "--encoder", tmp_path / "e")
    assert "there is no flag --frobnicate" in refusal(refused)


def test_weights_that_cannot_be_downloaded(
    command: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(**settings: Any) -> None:
        raise OSError("URL fetch failure on https://example.org/vgg16.h5: None -- Name or service not known\nmore")

    monkeypatch.setattr(keras.applications, "VGG16", unreachable)
    said = refusal(command("fit", "--images", photos, "--encoder", tmp_path / "e"))
    assert said.startswith("tfvlad fit: ImageNet weights of vgg16 cannot be had (URL fetch failure on ")
    assert "give --weights=FILE with weights fetched elsewhere or --weights=random:0" in said


def test_a_disk_that_is_full_is_told_by_the_name_that_was_given(
    command: Command, photos: Path, fit_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, **arrays: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr("numpy.savez", full)
    said = refusal(command("fit", *fit_flags, "--images", photos, "--encoder", tmp_path / "e"))
    assert said == f"tfvlad fit: {tmp_path}/e cannot be written: No space left on device"
    assert not list(tmp_path.iterdir())
