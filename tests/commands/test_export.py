from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf
from helpers.command_results import Command, done, refusal

import tfvlad


def test_an_encoder_becomes_a_version_that_gives_its_descriptors(
    command: Command, encoder: Path, photos: Path, tmp_path: Path
) -> None:
    out = done(command("export", "--encoder", encoder, "--output", tmp_path / "models" / "photos", "--version=3"))
    loaded = tfvlad.Encoder.load(encoder)
    path = tmp_path / "models" / "photos" / "3"
    assert out == f"{path}: {loaded.dim} dimensions, fingerprint {loaded.fingerprint[:12]}\n"
    photo = (photos / "000.jpg").read_bytes()
    told = tf.saved_model.load(str(path)).signatures["serving_default"](image_bytes=tf.constant([photo]))
    assert (told["descriptor"].numpy() * loaded.encode(photo)).sum() == pytest.approx(1, abs=1e-4)
    again = refusal(command("export", "--encoder", encoder, "--output", tmp_path / "models" / "photos", "--version=3"))
    assert again == f"tfvlad export: {path}: exists already; versions are not overwritten, give another number"


def test_another_precision_has_another_fingerprint(
    command: Command, encoder: Path, photos: Path, tmp_path: Path
) -> None:
    models = tmp_path / "photos"
    done(command("export", "--encoder", encoder, "--output", models, "--precision=bfloat16"))
    serve = tf.saved_model.load(str(models / "1")).signatures
    short, exact = tfvlad.Encoder.load(encoder, precision="bfloat16"), tfvlad.Encoder.load(encoder)
    told = serve["info"](probe=tf.constant([""]))["fingerprint"].numpy()[0].decode()
    assert told == short.fingerprint != exact.fingerprint
    photo = (photos / "000.jpg").read_bytes()
    descriptor = serve["serving_default"](image_bytes=tf.constant([photo]))["descriptor"].numpy()[0]
    assert descriptor @ short.encode(photo)[0] == pytest.approx(1, abs=1e-4)
    assert descriptor @ exact.encode(photo)[0] > 0.99


def test_an_index_becomes_a_model_that_searches_it(
    command: Command, encoder: Path, photos: Path, tmp_path: Path
) -> None:
    folder, models = tmp_path / "photos.index", tmp_path / "models"
    done(command("index", "--index", folder, "--encoder", encoder, "--images", photos))
    out = done(command("export", "--index", folder, "--output", models))
    with tfvlad.Index.open(folder) as index:
        assert out.endswith(f"fingerprint {index.fingerprint[:12]}, searches {len(index)} files\n")
        photo = photos / "000.jpg"
        [hits] = index.search(photo, 3, exact=True, verify=0, query_views="whole")
    search = tf.saved_model.load(str(models / "1")).signatures["search"]
    told = search(image_bytes=tf.constant([photo.read_bytes()]), k=tf.constant([3]))
    assert told["ids"].numpy()[0].tolist() == [hit.id for hit in hits]
    assert told["paths"].numpy()[0][0].decode() == f"{photos.name}/000.jpg"
    both = refusal(command("export", "--index", folder, "--encoder", encoder, "--output", models))
    assert "an index has an encoder of its own" in both
    precise = refusal(command("export", "--index", folder, "--precision=bfloat16", "--output", models))
    assert "--precision needs an --encoder" in precise
    assert "is not an index" in refusal(command("export", "--index", photos, "--output", models))


def test_mistakes_are_one_line(command: Command, encoder: Path, tmp_path: Path) -> None:
    assert "--output is needed" in refusal(command("export", "--encoder", encoder))
    assert "--encoder is needed" in refusal(command("export", "--output", tmp_path / "m"))
    assert "not an encoder folder" in refusal(command("export", "--encoder", tmp_path, "--output", tmp_path / "m"))
    assert "version" in refusal(command("export", "--encoder", encoder, "--output", tmp_path / "m", "--version=0"))
    (tmp_path / "file").touch()
    assert "is a file" in refusal(command("export", "--encoder", encoder, "--output", tmp_path / "file"))
    assert not (tmp_path / "m").exists()
