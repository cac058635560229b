"""The drawn data set: named and repeatable files, and photographs that show their covers without giving them away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfvlad.demo.camera import FRAME_SIZE, homography, outline, photograph
from tfvlad.demo.covers import COVER_SIZE, draw_cover
from tfvlad.demo.drawn_dataset import DrawnDataset, draw_dataset, draw_odd_queries
from tfvlad.demo.motifs import HEIGHT, MOTIFS, WIDTH, Motif, Palette, mix, star
from tfvlad.errors import ConfigError
from tfvlad.evaluation.datasets import DatabaseImage, plain_folder
from tfvlad.images.listing import list_images

COVERS = 20
PALETTE = Palette((10, 10, 10), (60, 60, 60), (120, 120, 120), (200, 50, 50), (250, 250, 250))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DrawnDataset:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), covers=COVERS, seed=3)


def pixels(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path), np.float64) for path in sorted(folder.iterdir())]


def test_every_folder_has_one_image_per_cover(dataset: DrawnDataset) -> None:
    names = [f"{number:03}.jpg" for number in range(COVERS)]
    for folder in dataset:
        assert sorted(path.name for path in folder.iterdir()) == names
    assert [folder.name for folder in dataset] == ["covers", "photographs", "fitting"]


def test_same_name_is_its_ground_truth(dataset: DrawnDataset) -> None:
    indexed = [DatabaseImage(name, str(dataset.covers / name), id_) for id_, name in enumerate(list_images(dataset[0]))]
    for queries in (dataset.photographs, dataset.fitting):
        truth = plain_folder(queries, indexed, "same_name").ground_truth
        assert [entry["ok"] for entry in truth] == [[number] for number in range(COVERS)]


def test_images_are_rgb_jpegs_of_512_pixels(dataset: DrawnDataset) -> None:
    for folder in dataset:
        for path in folder.iterdir():
            with Image.open(path) as image:
                assert (image.format, image.mode, max(image.size)) == ("JPEG", "RGB", 512)
    assert Image.open(dataset.covers / "000.jpg").size == COVER_SIZE


def test_same_seed_draws_the_same_bytes_and_a_smaller_set_is_a_part_of_a_larger(
    dataset: DrawnDataset, tmp_path: Path
) -> None:
    again = draw_dataset(tmp_path, covers=2, seed=3)
    for folder, larger in zip(again, dataset, strict=True):
        for path in folder.iterdir():
            assert path.read_bytes() == (larger / path.name).read_bytes()


def test_another_seed_draws_another_set(dataset: DrawnDataset, tmp_path: Path) -> None:
    other = draw_dataset(tmp_path, covers=1, seed=4)
    for folder, first in zip(other, dataset, strict=True):
        assert (folder / "000.jpg").read_bytes() != (first / "000.jpg").read_bytes()


def test_no_image_is_drawn_twice(dataset: DrawnDataset) -> None:
    contents = [path.read_bytes() for folder in dataset for path in folder.iterdir()]
    assert len(set(contents)) == 3 * COVERS


def test_a_set_may_be_drawn_over_but_not_beside_other_images(tmp_path: Path) -> None:
    draw_dataset(tmp_path, covers=2)
    draw_dataset(tmp_path, covers=2, seed=1)
    with pytest.raises(ConfigError, match=r"covers must hold no other images .* has 001.jpg"):
        draw_dataset(tmp_path, covers=1)


@pytest.mark.parametrize(("covers", "seed", "message"), [(0, 0, "covers must be 1"), (1, -1, "seed must not be")])
def test_bad_arguments_are_named(tmp_path: Path, covers: int, seed: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_dataset(tmp_path, covers=covers, seed=seed)
    assert not list(tmp_path.iterdir())


def test_mean_colour_does_not_solve_the_task(dataset: DrawnDataset) -> None:
    covers, photographs = (np.array([image.mean(axis=(0, 1)) for image in pixels(part)]) for part in dataset[:2])
    distances = np.linalg.norm(photographs[:, None] - covers, axis=2)
    assert np.mean(distances.argmin(axis=1) == np.arange(COVERS)) < 0.5


def test_a_photograph_shows_its_cover_where_its_corners_are() -> None:
    covers = [draw_cover(np.random.default_rng(seed)) for seed in range(6)]
    for number, cover in enumerate(covers):
        image, corners = photograph(cover, np.random.default_rng((number, 1)))
        # Pull the photograph flat again: each pixel of the cover comes from where the homography takes it.
        forth = homography(outline(cover.size), corners).ravel()[:8].tolist()
        flat = image.transform(cover.size, Image.Transform.PERSPECTIVE, forth, Image.Resampling.BILINEAR)
        likeness = [np.corrcoef(grey(flat), grey(other))[0, 1] for other in covers]
        assert np.argmax(likeness) == number
        assert likeness[number] > 0.7


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float64).ravel()


def test_the_cover_lies_in_the_frame() -> None:
    cover = Image.new("RGB", COVER_SIZE)
    for seed in range(20):
        image, corners = photograph(cover, np.random.default_rng(seed))
        assert image.size in (FRAME_SIZE, FRAME_SIZE[::-1])
        overhang = 0.02 * np.array(image.size)  # the largest scale is 1.02 frames
        assert (corners >= -overhang).all()
        assert (corners <= image.size + overhang).all()


def test_homography_of_a_scaled_and_shifted_square() -> None:
    # x -> 2x + 3, y -> 4y + 5
    target = [[3, 5], [5, 5], [5, 9], [3, 9]]
    np.testing.assert_allclose(homography(outline((1, 1)), target), [[2, 0, 3], [0, 4, 5], [0, 0, 1]], atol=1e-12)


def test_homography_of_a_square_seen_at_a_slant() -> None:
    # H (x, y, 1) = (x, y, 1 + x): the right edge is twice as far away, so (1, 1) is seen at (1/2, 1/2).
    target = [[0, 0], [0.5, 0], [0.5, 0.5], [0, 1]]
    np.testing.assert_allclose(homography(outline((1, 1)), target), [[1, 0, 0], [0, 1, 0], [1, 0, 1]], atol=1e-12)


@pytest.mark.parametrize("motif", MOTIFS)
def test_each_motif_fills_the_canvas_with_its_own_picture(motif: Motif) -> None:
    first, again, other = (Image.new("RGB", (WIDTH, HEIGHT), "white") for _ in range(3))
    for canvas, seed in ((first, 0), (again, 0), (other, 1)):
        motif(canvas, PALETTE, np.random.default_rng(seed))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert len(first.getcolors(WIDTH * HEIGHT)) >= 3


def test_mix_goes_a_quarter_of_the_way() -> None:
    assert mix((0, 0, 0), (100, 200, 40), 0.25) == (25, 50, 10)


def test_star_with_two_tips() -> None:
    # tips at angles 0 and 180 degrees, 4 away; dents at 90 and 270 degrees, 1 away
    np.testing.assert_allclose(star(10, 20, 4, 1, tips=2), [(14, 20), (10, 21), (6, 20), (10, 19)])


def test_drawing_and_reporting_do_not_load_tensorflow() -> None:
    code = "import sys, tfvlad.demo, tfvlad.reports.results_page; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_odd_queries_are_a_turned_photograph_and_a_stranger(dataset: DrawnDataset, tmp_path: Path) -> None:
    odd = draw_odd_queries(tmp_path, dataset.photographs / "004.jpg", covers=COVERS, seed=3)
    again = draw_odd_queries(tmp_path, dataset.photographs / "004.jpg", covers=COVERS, seed=3)
    assert [path.name for path in odd] == ["turned.jpg", "stranger.jpg"]
    assert [path.read_bytes() for path in odd] == [path.read_bytes() for path in again]
    upright = pixels(dataset.photographs)[4]
    turned, stranger = (np.asarray(Image.open(path), np.float64) for path in odd)
    assert np.abs(np.rot90(upright) - turned).mean() < 4
    larger = draw_dataset(tmp_path, covers=COVERS + 1, seed=3)
    assert np.abs(stranger - pixels(larger.photographs)[-1]).mean() < 6
