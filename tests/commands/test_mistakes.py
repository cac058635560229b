"""Every mistake that a user can make is answered by one line, which says what is wrong and what would be right."""

from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
from pathlib import Path

import keras
import pytest
from helpers.command_results import Command, refusal

from tfvlad.commands._messages import system_error

FIT = (
    "fit --images {photos} --encoder {new} --backbone {network} --layer second --preprocessing tf --image_size 64 "
    "--clusters 4 --dim 4"
)
INDEX = "index --images {photos} --index {new} --encoder {encoder}"
SEARCH = "search --index {index} {query}"
EVALUATE = "evaluate --index {index} --queries {queries}"
COPIES = (
    "sweep --images {photos} --output {new} --backbone {network} --preprocessing tf --layers second --image_sizes 64 "
    "--clusters 4 --dims 4"
)
SWEEP = (
    "sweep --images {photos} --queries {queries} --output {new} --backbone {network} --preprocessing tf "
    "--layers second --image_sizes 64 --clusters 4 --dims 4"
)


@pytest.fixture(scope="session")
def bad(photos: Path, index: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of everything that can be given and does not do."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    (folder / "file.txt").write_text("text\n")
    (folder / "folder").mkdir()
    (folder / "folder" / "mine.txt").write_text("mine")
    for name in ("network.keras", "weights.h5", "file.flags"):
        (folder / name).write_bytes(b"\xff\xd8\xff\xe0 neither text nor a network")
    (folder / "unknown.flags").write_text("# of another command\n--frobnicate=3\n")
    for name, truth in {
        "cut.json": '{"000.jpg": ',
        "list.json": "[]",
        "stray.json": '{"stray.jpg": {"ok": ["000.jpg"]}}',
        "unindexed.json": '{"000.jpg": {"ok": ["nowhere.jpg"]}}',
        "unmatched.json": '{"000.jpg": {"ok": []}}',
        "misspelt.json": '{"000.jpg": {"good": ["000.jpg"]}}',
    }.items():
        (folder / name).write_text(truth)
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2D(4, 9, strides=4, name="wide")(inputs)).save(folder / "wide.keras")
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, keras.layers.Conv2D(4, 3, name="small")(inputs)).save(folder / "fixed.keras")
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, keras.layers.Conv2D(4, 3, name="grey")(inputs)).save(folder / "grey.keras")
    (folder / "strangers").mkdir()
    shutil.copy(photos / "000.jpg", folder / "strangers" / "stranger.jpg")
    shutil.copytree(encoder, folder / "damaged.encoder")
    (folder / "damaged.encoder" / "codebook.npz").write_bytes(b"damaged")
    shutil.copytree(encoder, folder / "newer.encoder")
    description = json.loads((encoder / "encoder.json").read_text())
    (folder / "newer.encoder" / "encoder.json").write_text(json.dumps({**description, "format": 99}))
    shutil.copytree(index, folder / "damaged.index")
    (folder / "damaged.index" / "catalog.sqlite").write_bytes(b"damaged" * 100)
    return folder


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        # The command itself.
        (
            "",
            "tfvlad: a command is needed; there are fit, index, search, explain, duplicates, serve, evaluate,",
        ),
        ("''", "a command is needed; there are fit,"),
        ("serch {query}", "there is no command 'serch'; did you mean search?"),
        (
            "frobnicate",
            "there is no command 'frobnicate'; there are fit, index, search, explain, duplicates, serve, evaluate,",
        ),
        ("--k=3 search {query}", "the command comes before --k=3; there are fit,"),
        # Flags that are missing, unknown or not what they should be.
        ("fit", "tfvlad fit: --images is needed; --encoder is needed (see tfvlad fit --help)"),
        ("fit --images {photos}", "--encoder is needed"),
        ("fit --encoder {new}", "--images is needed"),
        ("index", "--index is needed (see tfvlad index --help)"),
        ("index --index {new}", "does not exist yet: --images is needed to make it"),
        ("index --index {index} --forget nowhere", "nowhere is not a folder of the index; there are {photos}"),
        ("index --index {index} --relocate {photos}={photos}/nowhere", "{photos}/nowhere is not a folder"),
        ("index --index {index} --relocate nowhere={photos}", "nowhere is not a folder of the index"),
        ("search {query}", "tfvlad search: --index is needed"),
        ("search --index= {query}", "--index is needed"),
        ("evaluate", "--index is needed; --queries is needed"),
        ("evaluate --index {index}", "--queries is needed"),
        ("fit --images= --encoder {new}", "--images is needed"),
        (f"{FIT} --images=", "--images is needed"),
        ("fit --image {photos}", "there is no flag --image; did you mean --images?"),
        ("fit --frobnicate 3", "there is no flag --frobnicate (see tfvlad fit --help)"),
        (f"{FIT} --format=json", "there is no flag --format"),
        (f"{SEARCH} --k", "Missing value for flag --k"),
        (f"{FIT} --images", "Missing value for flag --images"),
        (f"{FIT} --resize=squash", "--resize=squash: must be stretch or fit"),
        (f"{FIT} --preprocessing=keras", "--preprocessing=keras: must be caffe or tf or torch or none"),
        (f"{SEARCH} --format=JSON", "--format=JSON: must be table or json"),
        (f"{SEARCH} --k=three", "--k=three: not a whole number"),
        (f"{SEARCH} --k=1.5", "--k=1.5: not a whole number"),
        (f"{SEARCH} --k 0", "--k=0: 0 is not a positive integer"),
        (f"{SEARCH} --k -2", "--k=-2: -2 is not a positive integer"),
        (f"{SEARCH} --verify=-1", "--verify=-1: -1 is not an integer in the range [0, 100000]"),
        (f"{SEARCH} --verifier=orb", "--verifier=orb: must be cells or sift"),
        (f"{SEARCH} --query_views=rotations", "--query_views: views must be some of rotations:N, scales:N, regions:N"),
        (f"{SEARCH} --box=1,2,3", "--box must be x,y,w,h: four numbers of pixels"),
        (f"{INDEX} --views=turns:4", "--views: views must be some of rotations:N, scales:N, regions:N"),
        (f"{INDEX} --local_features=-1", "--local_features=-1: must be 0 to 16384"),
        (f"{INDEX} --local_features=few", "--local_features=few: not a whole number"),
        ("index --index {new} --calibrate", "does not exist yet: --images is needed to make it"),
        ("explain --index {index} {query} {query}", "--output is needed"),
        (f"{SEARCH} --exact=maybe", "--exact=maybe: must be true or false"),
        (f"{SEARCH} --noexact=1", "--noexact=1 does not take an argument"),
        (f"{FIT} --clusters=0", "--clusters=0: 0 is not a positive integer"),
        (f"{FIT} --dim=-1", "--dim=-1: -1 is not a non-negative integer"),
        (f"{FIT} --seed=-1", "--seed=-1: -1 is not an integer in the range [0, 4294967295]"),
        (f"{FIT} --image_size=0", "--image_size=0: 0 is not an integer in the range [1, 10000]"),
        (f"{FIT} --power=strong", "--power=strong: not a number"),
        (f"{FIT} --power=2", "--power=2: 2.0 is not a number in the range [0.0, 1.0]"),
        (f"{FIT} --power=0", "power must be above 0 and at most 1, got 0.0"),
        (f"{FIT} --power=nan", "power must be above 0 and at most 1, got nan"),
        (f"{FIT} --codebook_samples=3", "codebook_samples must be at least clusters (4), got 3"),
        (f"{INDEX} --m=1", "--m=1: 1 is not an integer in the range [2, 10000]"),
        (f"{FIT} more", "'more' was not expected; a flag is --name=value"),
        ("layers vgg16", "'vgg16' was not expected"),
        (f"{FIT} --flagfile={{bad}}/nowhere", "--flagfile={bad}/nowhere: No such file or directory"),
        (f"{FIT} --flagfile={{bad}}", "--flagfile={bad}: Is a directory"),
        (f"{FIT} --flagfile={{bad}}/file.flags", "the flagfile is not a text file"),
        (f"{FIT} --flagfile={{bad}}/unknown.flags", "there is no flag --frobnicate"),
        (f"{FIT} --flagfile", "--flagfile with no argument"),
        # Folders of images.
        (f"{FIT} --images {{bad}}/nowhere", "{bad}/nowhere is not a folder"),
        (
            f"{FIT} --images {{bad}}/empty",
            "{bad}/empty holds no image (.arw, .avif, .bmp, .cr2, .cr3, .dng, .gif, .heic, .heif, .hif, .j2c, .j2k, "
            ".jfif, .jp2, .jpe, .jpeg, .jpf, .jpg, .jpx, .jxl, .nef, .png, .tif, .tiff, .webp)",
        ),
        (f"{FIT} --images {{bad}}/file.txt", "{bad}/file.txt is not a folder"),
        (f"{INDEX} --images {{bad}}/nowhere", "{bad}/nowhere is not a folder"),
        (f"{INDEX} --images {{bad}}/empty", "{bad}/empty holds no image"),
        (f"{INDEX} --images {{query}}", "{query} is not a folder"),
        ("index --index {index} --images {bad}/nowhere", "{bad}/nowhere is not a folder"),
        ("index --index {index} --images {photos}/..", "overlaps {photos}, which the index already holds"),
        # Networks.
        (
            f"{FIT} --backbone=resnet",
            "backbone must be a network that `tfvlad layers` lists or the path of a .keras file, got 'resnet'",
        ),
        (
            f"{FIT} --backbone=",
            "backbone must be a network that `tfvlad layers` lists or the path of a .keras file, got ''",
        ),
        (f"{FIT} --backbone=nowhere.keras", "backbone nowhere.keras: no such file"),
        (f"{FIT} --backbone={{bad}}/network.keras", "network.keras: not a model that Keras can load"),
        (f"{FIT} --backbone={{bad}}/grey.keras", "the input must be RGB images, (batch, height, width, 3), got"),
        (f"{FIT} --backbone={{bad}}/fixed.keras --layer=small", "takes images of 32x32 pixels only"),
        (f"{FIT} --layer=secnd", "layer 'secnd' is not there, did you mean 'second'? the layers of {network} are:"),
        (f"{FIT} --layer=", "layer must be given for {network}; the layers of {network} are: first, second"),
        (
            "fit --images {photos} --encoder {new} --backbone {network}",
            "{network} needs preprocessing (caffe, tf, torch or none: how its training scaled the pixels), "
            "and layer (tfvlad layers --backbone {network} lists them)",
        ),
        (
            "fit --images {photos} --encoder {new} --backbone {network} --preprocessing=tf",
            "layer must be given for {network}; the layers of {network} are: first, second",
        ),
        (f"{FIT} --backbone=vgg16 --weights={{bad}}/nowhere.h5", "weights {bad}/nowhere.h5: no such file"),
        (f"{FIT} --backbone=vgg16 --weights={{bad}}/weights.h5", "not the weights of vgg16 without its top"),
        (f"{FIT} --backbone=vgg16 --weights=mine", "weights must be imagenet, random:SEED, or a .h5 or .weights.h5"),
        (f"{FIT} --backbone=vgg16 --weights=random:abc", "random:SEED needs a whole number as SEED, got 'abc'"),
        (
            "layers --backbone=resnet",
            "backbone must be a network that `tfvlad layers` lists or the path of a .keras file",
        ),
        ("layers --backbone={bad}/nowhere.keras", "no such file"),
        # What the images cannot give.
        (f"{FIT} --dim=8", "dim=8 is too large: 8 images and vectors of 32 dimensions give 7 at most"),
        (f"{FIT} --dim=0 --clusters=600", "clusters=600 is too many for 384 local features; give more images"),
        (
            f"{FIT} --backbone={{bad}}/wide.keras --layer=wide --image_size=8",
            "none of the 8 images can be used; the first is {photos}/000.jpg: 8x6 pixels are too few for this layer",
        ),
        # Encoders.
        (f"{FIT} --encoder={{bad}}/folder", "exists and is not an encoder; it is not overwritten"),
        (f"{FIT} --encoder={{bad}}/file.txt", "exists and is not an encoder; it is not overwritten"),
        (f"{FIT} --encoder={{bad}}/file.txt/new", "{bad}/file.txt is not a folder that you may write to"),
        (f"{INDEX} --encoder={{bad}}/nowhere", "{bad}/nowhere: not an encoder folder"),
        (f"{INDEX} --encoder={{photos}}", "not an encoder folder: there is no encoder.json in it"),
        (f"{INDEX} --encoder={{bad}}/file.txt", "not an encoder folder"),
        (f"{INDEX} --encoder={{bad}}/damaged.encoder", "codebook.npz: damaged: its SHA-256 is not the one in"),
        (f"{INDEX} --encoder={{bad}}/newer.encoder", "format 99 is newer than this tfvlad reads"),
        (f"{INDEX} --encoder=", "--encoder must be the folder or the URL of an encoder, and is empty"),
        (f"{INDEX} --index {{index}} --encoder={{other_encoder}}", "{index} was made with the encoder "),
        # Indexes.
        (f"{INDEX} --index={{bad}}/folder", "{bad}/folder: is not an index"),
        (f"{INDEX} --index={{bad}}/file.txt", "{bad}/file.txt: is not an index"),
        (f"{INDEX} --index={{bad}}/file.txt/new", "new cannot be written: {bad}/file.txt is not a folder"),
        ("search --index={bad}/nowhere {query}", "{bad}/nowhere: is not an index: there is no file catalog.sqlite"),
        ("search --index={photos} {query}", "{photos}: is not an index"),
        ("search --index={bad}/damaged.index {query}", "is not the catalog of an index"),
        ("evaluate --index={bad}/nowhere --queries={queries}", "{bad}/nowhere: is not an index"),
        ("evaluate --index={query} --queries={queries}", "{query}: is not an index"),
        # Queries.
        ("search --index={index}", "which images to search for? give their paths behind the flags"),
        ("search --index={index} {bad}/nowhere.jpg", "{bad}/nowhere.jpg: No such file or directory"),
        ("search --index={index} {bad}/file.txt", "{bad}/file.txt: not an image in a known format"),
        ("search --index={index} {bad}/file.txt {bad}/no.jpg", "known format (and 1 more that cannot be used)"),
        ("search --index={index} {bad}/empty", "{bad}/empty holds no image"),
        (f"{SEARCH} --html={{bad}}/folder", "{bad}/folder is a folder; give the path of a file"),
        (f"{SEARCH} --html={{bad}}/file.txt/hits.html", "hits.html cannot be written: {bad}/file.txt is not a folder"),
        # Ground truth.
        (f"{EVALUATE} --queries={{bad}}/nowhere", "{bad}/nowhere is not a folder"),
        (f"{EVALUATE} --queries={{bad}}/file.txt", "{bad}/file.txt is not a folder"),
        (f"{EVALUATE} --queries={{bad}}/empty", "{bad}/empty has no image to query with"),
        (f"{EVALUATE} --queries={{bad}}/strangers", "no query of {bad}/strangers has a match besides itself under"),
        (f"{EVALUATE} --ground_truth=same", "must be same_name, same_folder or the path of a JSON file, got same"),
        (f"{EVALUATE} --ground_truth=", "--ground_truth is needed"),
        (f"{EVALUATE} --ground_truth=same_folder", "same_folder needs every query in a sub-folder of {queries}"),
        (f"{EVALUATE} --ground_truth={{bad}}/nowhere.json", "there is no file {bad}/nowhere.json"),
        (f"{EVALUATE} --ground_truth={{bad}}/cut.json", "cut.json cannot be read as JSON"),
        (f"{EVALUATE} --ground_truth={{bad}}/list.json", "list.json must hold one object"),
        (f"{EVALUATE} --ground_truth={{bad}}/misspelt.json", 'must have a list of paths "ok"'),
        (f"{EVALUATE} --ground_truth={{bad}}/stray.json", "names queries that are no images of {queries}: stray.jpg"),
        (f"{EVALUATE} --ground_truth={{bad}}/unindexed.json", "names files that are not indexed: nowhere.jpg"),
        (f"{EVALUATE} --ground_truth={{bad}}/unmatched.json", "no query of {queries} has a match besides itself"),
        # What a sweep tries.
        ("sweep", "--images is needed; --output is needed"),
        (f"{SWEEP} --layers=third", "layer 'third' is not there"),
        (f"{SWEEP} --layers=fire*", "layers: nothing in {network} matches 'fire*'; see `tfvlad layers`"),
        (f"{SWEEP} --layers=", "layers must name one at least"),
        (f"{SWEEP} --dims=8,9", "no setting is possible; the first: PCA of 8 images gives 7 dimensions at most"),
        (f"{SWEEP} --clusters=600", "the first: 512 local features of the images to fit on do not make 600 clusters"),
        # The same before altered copies are drawn.
        (f"{COPIES} --layers=third", "layer 'third' is not there"),
        (f"{COPIES} --encodings=fc", "no layer with (batch, features) before its last one, so no fc"),
        (f"{COPIES} --dims=8", "no setting is possible; the first: PCA of 8 images gives 7 dimensions at most"),
        (f"{COPIES} --fit_on={{bad}}/nowhere", "{bad}/nowhere is not a folder"),
        (
            f"{SWEEP} --dims=4,some",
            "--dims must be whole numbers from 0, with commas between them, or full, got 'some'",
        ),
        (f"{SWEEP} --dims=0,full", "dims must name each once, got 0 again"),
        (f"{SWEEP} --image_sizes=0", "--image_sizes must be whole numbers from 1, with commas between them, got '0'"),
        (f"{SWEEP} --encodings=vlad,fisher", "encodings must be of vlad, mean, max, gem, fc, got 'fisher'"),
        (f"{SWEEP} --encodings=fc", "no layer with (batch, features) before its last one, so no fc"),
        (f"{SWEEP} --verify=some", "--verify must be whole numbers from 0, with commas between them, got 'some'"),
        (f"{SWEEP} --verifier=orb", "verifiers must be of cells, sift, got 'orb'"),
        (f"{SWEEP} --views=mirrors:2", "mirrors"),
        (f"{SWEEP} --fit_on={{bad}}/nowhere", "{bad}/nowhere is not a folder"),
        (f"{SWEEP} --images={{bad}}/empty", "{bad}/empty holds no image"),
        (f"{SWEEP} --dataset=oxford:{{photos}}", "oxford:{photos} is no folder, and no data set with its folder"),
        (
            f"{SWEEP} --output={{bad}}/folder",
            "folder holds mine.txt and is not of an earlier sweep; give a folder that is",
        ),
        (f"{SWEEP} --output={{bad}}/file.txt", "{bad}/file.txt is not a folder; give one for the results"),
        # The demo's folder.
        ("demo --output={bad}/folder", "{bad}/folder is not of an earlier demo; give a folder that is empty or not"),
        ("demo --output={bad}/file.txt", "{bad}/file.txt: Not a directory"),
        ("demo --output={new} --seed=-1", "--seed=-1: -1 is not an integer in the range [0, 4294967295]"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    command: Command, request: pytest.FixtureRequest, tmp_path: Path, line: str, answer: str
) -> None:
    places = {name: request.getfixturevalue(name) for name in re.findall(r"{(\w+)}", line + answer) if name in FIXTURES}
    places |= {"new": tmp_path / "new", "query": request.getfixturevalue("queries") / "000.jpg"}
    said = refusal(command(*shlex.split(line.format(**places))))
    assert said.startswith("tfvlad")
    assert (answer.format(**places) if "{" in answer else answer) in said
    assert not (tmp_path / "new").exists()


FIXTURES = {"photos", "queries", "network", "encoder", "other_encoder", "index", "bad"}


def test_nothing_was_touched(bad: Path) -> None:
    assert [path.name for path in (bad / "folder").iterdir()] == ["mine.txt"]
    assert (bad / "file.txt").read_text() == "text\n"
    assert not any((bad / "empty").iterdir())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("the disk is gone"), "the disk is gone"),
        (OSError(), "OSError"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "photos"), "photos: Permission denied"),
        (PermissionError(errno.EACCES, "Permission denied", b"caf\xc3\xa9"), "café: Permission denied"),
        (PermissionError(errno.EACCES, "Permission denied", Path("a/b")), "a/b: Permission denied"),
        (OSError(errno.EBADF, "Bad file descriptor", 7), "Bad file descriptor"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", ".out.x8", None, "out"), "out: Is a directory"),
    ],
)
def test_what_the_system_refuses_is_one_readable_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    from tfvlad.commands import layers

    def fail(*arguments: object) -> int:
        raise error

    monkeypatch.setattr(layers, "run", fail)
    assert system_error(error) == said
    assert refusal(command("layers")) == f"tfvlad layers: {said}"
