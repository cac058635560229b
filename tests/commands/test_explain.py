from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from helpers.command_results import Command, done, refusal
from PIL import Image

import tfvlad


def test_a_page_tells_why(command: Command, verifying_index: Path, queries: Path, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "not" / "there" / "why.html"
    line = ["explain", "--index", verifying_index, "--output", page, queries / "002.jpg", photos / "002.jpg"]
    verdict, _, told = done(command(*line)).partition(": ")
    assert verdict in ("same", "likely", "unsure", "different")
    assert told.endswith(f" local features agree; see {page}\n")
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 2
    assert 'class="line"' in html
    assert "What makes the whole pictures alike" in html


def test_the_indexed_image_may_be_named_by_its_id(
    command: Command, verifying_index: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    with tfvlad.Index.open(verifying_index) as index:
        ids = {path: file for file, _, path in index.images()}
    pages = [tmp_path / "by_path.html", tmp_path / "by_id.html"]
    for page, found in zip(pages, (photos / "003.jpg", ids[str(photos / "003.jpg")]), strict=True):
        done(command("explain", "--index", verifying_index, "--output", page, queries / "003.jpg", found))
    assert pages[0].read_bytes() == pages[1].read_bytes()


@pytest.mark.parametrize("flags", [[], ["--box=10,10,60,50"]])
def test_a_picture_alone(
    command: Command, verifying_index: Path, queries: Path, photos: Path, tmp_path: Path, flags: list[str]
) -> None:
    picture = tmp_path / "why.PNG"
    line = ["explain", "--index", verifying_index, "--output", picture, queries / "002.jpg", photos / "002.jpg"]
    done(command(*line, *flags))
    with Image.open(io.BytesIO(picture.read_bytes())) as drawn:
        assert drawn.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["why.PNG"]


def test_an_index_without_local_features_explains_too(
    command: Command, index: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    page = tmp_path / "why.html"
    done(command("explain", "--index", index, "--output", page, queries / "002.jpg", photos / "002.jpg"))
    assert 'class="line"' in page.read_text(encoding="utf-8")


def test_images_that_cannot_be_explained(
    command: Command, verifying_index: Path, queries: Path, photos: Path, broken: Path, tmp_path: Path
) -> None:
    page = tmp_path / "why.html"
    line = ["explain", "--index", verifying_index, "--output", page]
    stranger = tmp_path / "stranger.jpg"
    shutil.copy(photos / "000.jpg", stranger)
    query, known = queries / "000.jpg", photos / "000.jpg"
    is_not = "is not in the index; give the path or the id of an indexed image"
    for operands, said in [
        ([], "which two images? give the query and the indexed image behind the flags"),
        ([query], "which two images? give the query and the indexed image behind the flags"),
        ([query, known, known], "which two images? give the query and the indexed image behind the flags"),
        ([query, stranger], f"{stranger} {is_not}"),
        ([query, "4711"], f"4711 {is_not}"),
        ([query, "-0"], "there is no flag --0"),
        ([broken / "cut.jpg", known], f"{broken / 'cut.jpg'}: a damaged or truncated JPEG"),
        ([tmp_path / "gone.jpg", known], f"{tmp_path / 'gone.jpg'}: No such file or directory"),
        ([query, known, "--box=500,0,10,10"], f"{query}: the box 500,0 to 510,10 is not inside its 96 x 72 pixels"),
    ]:
        assert refusal(command(*line, *operands)).startswith(f"tfvlad explain: {said}")
        assert not page.exists()
    for name in ("why.pdf", "why"):
        said = refusal(command("explain", "--index", verifying_index, "--output", tmp_path / name, query, known))
        assert said == f"tfvlad explain: --output must end in .html or .png, got {tmp_path / name}"


def test_an_indexed_file_that_is_gone(
    command: Command, encoder: Path, queries: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    with tfvlad.Index.create(tmp_path / "index", tfvlad.Encoder.load(encoder)) as index:
        index.sync(folder)
    (folder / "000.jpg").unlink()
    line = ["explain", "--index", tmp_path / "index", "--output", tmp_path / "why.html", queries / "000.jpg"]
    assert refusal(command(*line, folder / "000.jpg")) == f"tfvlad explain: {folder}/000.jpg: No such file or directory"


def test_an_index_of_format_1_is_verified_and_explained(command: Command, tmp_path: Path) -> None:
    """It keeps no local features: they are made of the files. Nothing in the index changes."""
    golden = Path(__file__).parents[1] / "golden" / "v1"
    shutil.copytree(golden, tmp_path / "v1")
    index, query, page = tmp_path / "v1" / "index", tmp_path / "v1" / "photos" / "a.png", tmp_path / "why.html"
    catalog = (index / "catalog.sqlite").read_bytes()
    plain = done(command("search", "--index", index, query))
    assert plain.splitlines()[1].split() == ["rank", "score", "path"]
    verified = done(command("search", "--index", index, query, "--verify=2", "--query_views=whole"))
    assert "verdict" in verified
    done(command("explain", "--index", index, "--output", page, query, tmp_path / "v1" / "photos" / "c.png"))
    assert page.exists()
    assert (index / "catalog.sqlite").read_bytes() == catalog
    assert refusal(command("index", "--index", index, "--calibrate")) == (
        f"tfvlad index: {index} keeps no local features to be calibrated on"
    )
