"""What becomes of the kinds of image file that people have? Each is made by another program from one photograph.

    python benchmarks/formats.py --encoder E --photograph FILE [--more DIR] [--folder KEPT] [--json OUT]

Prints for each kind: the program that made it; what tfvlad did with it, as indexing would (decoded by the graph or by a
library, or the reason why not); the mean absolute difference of its pixels to what an independent decoder sees, in
levels of 255; and the cosine of its descriptor to that of the photograph as PNG. With --more, a second table: what
becomes of the descriptors of these photographs in a wide-gamut profile, with and without its conversion.

Needs ffmpeg, ImageMagick, libheif's, libavif's, libjxl's, OpenJPEG's and libtiff's programs, exiftool, and the
colour profiles of Ghostscript (Debian: ffmpeg imagemagick libheif-examples libavif-bin libjxl-tools libopenjp2-tools
libtiff-tools libimage-exiftool-perl libgs-common). A kind whose program is missing is left out.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from timing import parser, print_missing, print_table, write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

PROFILES = "/usr/share/color/icc/ghostscript"  # of Debian's libgs-common, made by others than the programs here
INTENT = "-intent Relative -black-point-compensation"
MAGICK = (
    f"convert {{file}}[0] -auto-orient -background white -alpha remove {INTENT} -profile {PROFILES}/srgb.icc "
    "-depth 8 {out}"
)
BY_NUMBER = "--colour_primaries 12 --transfer_characteristic 13"
FLOATS = "-depth 32 -define quantum:format=floating-point"
STILL_AV1 = "-c:v libaom-av1 -still-picture 1 -crf 20"
LOSSLESS = "-define webp:lossless=true"
PLAIN = "-define png:exclude-chunks=gAMA,cHRM"
HEIF = f"heif-convert {{file}} step.png && {MAGICK.replace('{file}[0]', 'step.png')}"
AVIF = f"avifdec {{file}} step.png && {MAGICK.replace('{file}[0]', 'step.png')}"
JXL = f"djxl {{file}} step.png && {MAGICK.replace('{file}[0]', 'step.png')}"
JXL_SRGB = "djxl {file} step.ppm && convert step.ppm {out}"
JP2 = f"opj_decompress -quiet -i {{file}} -o step.png && {MAGICK.replace('{file}[0]', 'step.png')}"
FFMPEG = "ffmpeg -v error -y -i {file} -frames:v 1 -pix_fmt rgb24 {out}"
PREVIEW = (
    "exiftool -b -PreviewImage {file} > step.jpg && exiftool -q -overwrite_original -n -Orientation=6 step.jpg && "
    + MAGICK.replace("{file}[0]", "step.jpg")
)
TO_ADOBE = f"{INTENT} -profile {PROFILES}/srgb.icc -profile {PROFILES}/a98.icc"
TO_P3 = f"{INTENT} -profile {PROFILES}/srgb.icc -profile p3.icc"
TO_CMYK = f"{INTENT} -profile {PROFILES}/srgb.icc -profile {PROFILES}/default_cmyk.icc"

# What it is; its file; how it is made of base.png (8 bits), deep.png (16 bits), base.jpg and turned.jpg; how it is read
# by somebody else.
KINDS = (
    ("JPEG", "plain.jpg", "ffmpeg -v error -y -i base.png -q:v 2 {file}", MAGICK),
    ("JPEG, progressive", "progressive.jpg", "convert base.png -interlace JPEG -quality 92 {file}", MAGICK),
    ("JPEG, grey", "grey.jpeg", "convert base.png -colorspace Gray -quality 92 {file}", MAGICK),
    ("JPEG, CMYK with profile", "cmyk.jpg", f"convert base.png {TO_CMYK} -quality 92 {{file}}", MAGICK),
    ("JPEG, EXIF-rotated", "turned.jpg", "true", MAGICK),
    ("JPEG, profile sRGB", "srgb.jpg", f"convert base.png -profile {PROFILES}/srgb.icc -quality 92 {{file}}", MAGICK),
    ("JPEG, Adobe RGB", "adobe.jpg", f"convert base.png {TO_ADOBE} -quality 92 {{file}}", MAGICK),
    ("JPEG, Display P3", "p3.jpg", f"convert base.png {TO_P3} -quality 92 {{file}}", MAGICK),
    ("PNG", "plain.png", "ffmpeg -v error -y -i base.png {file}", MAGICK),
    ("PNG, 16 bits", "deep16.png", "convert deep.png -depth 16 {file}", MAGICK),
    ("PNG, palette", "palette.png", "convert base.png -colors 256 PNG8:{file}", MAGICK),
    ("PNG, Adobe RGB", "adobe.png", f"convert base.png {TO_ADOBE} {{file}}", MAGICK),
    ("WebP, lossy", "lossy.webp", "ffmpeg -v error -y -i base.png -quality 90 {file}", MAGICK),
    ("WebP, lossless, Adobe RGB", "adobe.webp", f"convert base.png {TO_ADOBE} {LOSSLESS} {{file}}", MAGICK),
    ("GIF", "plain.gif", "convert base.png {file}", MAGICK),
    ("BMP", "plain.bmp", "ffmpeg -v error -y -i base.png {file}", MAGICK),
    ("HEIC", "plain.heic", "heif-enc -q 90 base.png -o {file}", HEIF),
    ("HEIC, 10 bits, 4:4:4", "deep.heic", "heif-enc -q 90 -b 10 -p chroma=444 deep.png -o {file}", HEIF),
    ("HEIC, rotated (irot)", "irot.heic", "true", HEIF),
    ("HEIC, EXIF-rotated only", "turned.heic", "heif-enc -q 90 turned.jpg -o {file}", HEIF),
    ("HEIC, Display P3", "p3.heic", "heif-enc -q 90 p3.png -o {file}", HEIF),
    ("HEIC, P3 by number", "nclx.heic", f"heif-enc -q 90 {BY_NUMBER} p3bare.png -o {{file}}", ""),
    ("HEIC, by ImageMagick", "magick.heif", "convert base.png -quality 90 heic:{file}", HEIF),
    ("AVIF", "plain.avif", "avifenc --min 10 --max 15 base.png {file}", AVIF),
    ("AVIF, 10 bits, 4:4:4", "deep.avif", "avifenc -d 10 -y 444 --min 10 --max 15 deep.png {file}", AVIF),
    ("AVIF, rotated (irot)", "turned.avif", "avifenc --irot 3 --min 10 --max 15 sideways.png {file}", HEIF),
    ("AVIF, grid", "grid.avif", "avifenc -g 2x2 --min 10 --max 15 base.png {file}", AVIF),
    ("AVIF, Adobe RGB", "adobe.avif", "avifenc --min 10 --max 15 adobe.png {file}", AVIF),
    ("AVIF, P3 by number", "nclx.avif", "avifenc --cicp 12/13/6 --min 10 --max 15 p3bare.png {file}", ""),
    ("AVIF, by ffmpeg", "ffmpeg.avif", f"ffmpeg -v error -y -i base.png {STILL_AV1} {{file}}", AVIF),
    ("TIFF", "plain.tif", "ffmpeg -v error -y -i base.png {file}", MAGICK),
    ("TIFF, 16 bits, LZW", "deep.tif", "convert deep.png -depth 16 -compress LZW {file}", MAGICK),
    ("TIFF, grey, 16 bits", "grey16.tif", "convert deep.png -colorspace Gray -depth 16 {file}", MAGICK),
    ("TIFF, CMYK, deflate", "cmyk.tif", f"convert base.png {TO_CMYK} -compress Zip {{file}}", MAGICK),
    ("TIFF, Lab", "lab.tif", "convert base.png -colorspace Lab {file}", MAGICK),
    ("TIFF, JPEG inside, tiles", "tiles.tif", "tiffcp -c jpeg:r:92 -t -w 128 -l 128 plain.tif {file}", MAGICK),
    ("TIFF, fax (G4)", "fax.tif", "convert base.png -monochrome -compress Group4 {file}", MAGICK),
    ("TIFF, three pages", "pages.tif", "tiffcp plain.tif negative.tif negative.tif {file}", MAGICK),
    ("TIFF, rotated", "turned.tif", "convert sideways.png {file} && tiffset -s 274 6 {file}", MAGICK),
    ("BigTIFF", "big.tiff", "tiffcp -8 plain.tif {file}", MAGICK),
    ("BigTIFF, big-endian", "big.tif", "tiffcp -8 -B plain.tif {file}", MAGICK),
    ("TIFF, 32-bit floats", "float.tif", f"convert base.png {FLOATS} {{file}}", MAGICK),
    ("JPEG 2000, lossless", "plain.jp2", "opj_compress -i base.png -o {file}", JP2),
    ("JPEG 2000, codestream", "stream.j2k", "opj_compress -i base.png -r 10 -o {file}", JP2),
    ("JPEG 2000, by ImageMagick", "magick.jp2", "convert base.png -quality 90 {file}", JP2),
    ("JPEG XL", "plain.jxl", "cjxl -q 92 base.png {file}", JXL_SRGB),
    ("JPEG XL, lossless", "lossless.jxl", "cjxl -q 100 base.png {file}", JXL_SRGB),
    ("JPEG XL, a JPEG's bits", "transcoded.jxl", "cjxl turned.jpg {file}", JXL_SRGB),
    ("JPEG XL, rotated", "turned.jxl", "cjxl --lossless_jpeg=0 -q 92 turned.jpg {file}", JXL_SRGB),
    ("JPEG XL, Adobe RGB", "adobe.jxl", "cjxl -q 92 adobe.png {file}", JXL),
    ("JPEG XL, by ffmpeg", "ffmpeg.jxl", "ffmpeg -v error -y -i base.png -distance 1 {file}", JXL_SRGB),
    ("DNG, rotated, its preview", "raw.dng", "true", PREVIEW),
    ("JPEG called .heic", "misnamed.heic", "cp base.jpg {file}", MAGICK.replace("{file}", "jpg:{file}")),
    ("HEIC, cut off", "cut.heic", "head -c 4000 plain.heic > {file}", ""),
    ("text called .tif", "text.tif", "echo no picture > {file}", ""),
)  # fmt: skip

PREPARE = (
    f"convert deep.png -define png:color-type=2 {PLAIN} -depth 8 base.png",
    "convert base.png -negate negative.tif",
    "convert base.png -quality 95 base.jpg",
    f"convert base.png -rotate -90 {PLAIN} sideways.png",
    "convert sideways.png -quality 95 turned.jpg",
    "exiftool -q -overwrite_original -n -Orientation=6 turned.jpg",
    f"convert base.png {TO_P3} {PLAIN} p3.png",
    f"convert p3.png +profile '*' {PLAIN} p3bare.png",
    f"convert base.png {TO_ADOBE} {PLAIN} adobe.png",
)

Pixels = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of one kind of file."""

    kind: str
    tool: str
    outcome: str
    difference: float | None
    cosine: float | None


@dataclasses.dataclass(frozen=True)
class Gamut:
    """The cosine of photographs' descriptors to the originals' in a wide-gamut profile."""

    profile: str
    photographs: int
    converted_median: float
    converted_least: float
    ignored_median: float
    ignored_least: float


def main() -> None:
    arguments_of = parser(__doc__, rounds=1)
    arguments_of.add_argument("--encoder", required=True)
    arguments_of.add_argument("--photograph", required=True)
    arguments_of.add_argument("--more", metavar="DIR", help="photographs for the table of wide-gamut profiles")
    arguments_of.add_argument("--folder", help="a new folder that keeps the files")
    arguments = arguments_of.parse_args()

    import tfvlad

    encoder = tfvlad.Encoder.load(arguments.encoder)
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        folder.mkdir(exist_ok=True)
        prepare(folder, Path(arguments.photograph))
        rows = list(judged(folder, encoder, missing))
    print_table(
        f"{len(rows)} kinds of file",
        ("kind", "made by", "what tfvlad did", "difference", "cosine"),
        ((row.kind, row.tool, row.outcome, _figure(row.difference, 2), _figure(row.cosine, 4)) for row in rows),
    )
    gamuts = list(wide_gamut(Path(arguments.more), encoder)) if arguments.more else []
    if gamuts:
        print_table(
            "cosine to the original's descriptor: median, least",
            ("profile", "photographs", "converted", "", "ignored", ""),
            (
                [cell if isinstance(cell, str | int) else f"{cell:.4f}" for cell in dataclasses.astuple(one)]
                for one in gamuts
            ),
        )
    print_missing(missing)
    write_json(arguments.json, [*rows, *gamuts], missing)


def prepare(folder: Path, photograph: Path) -> None:
    """Writes the files that all kinds are made of."""
    import pillow_heif
    from helpers.raw_files import dng

    from tfvlad.images._boxes import display_profile

    with Image.open(photograph) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright = upright.crop((0, 0, upright.width // 8 * 8, upright.height // 8 * 8))
    upright.save(folder / "photograph.png")
    (folder / "p3.icc").write_bytes(display_profile(12))
    _run("convert photograph.png -depth 16 -define png:bit-depth=16 deep.png", folder)
    for command in PREPARE:
        _run(command, folder)
    preview = io.BytesIO()
    Image.open(folder / "sideways.png").save(preview, "JPEG", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    pillow_heif.from_pillow(Image.open(folder / "sideways.png")).save(folder / "irot.heic", exif=turned.tobytes())
    (folder / "raw.dng").write_bytes(dng(preview.getvalue(), orientation=6))


def judged(folder: Path, encoder: object, missing: list[str]) -> Iterator[Row]:
    """Makes each kind of file, and looks what becomes of it."""
    from tfvlad.errors import ImageError
    from tfvlad.images.crops import read_upright
    from tfvlad.images.libraries import library_format

    original = encoder.encode([str(folder / "base.png")])[0]
    for kind, name, made_by, read_by in KINDS:
        tool = {"true": "exiftool" if name.endswith("jpg") else "its script"}.get(made_by, made_by.split()[0])
        tool = {"convert": "ImageMagick"}.get(tool, tool)
        path = folder / name
        try:
            _run(made_by.format(file=name), folder)
        except (subprocess.CalledProcessError, OSError):
            missing.append(f"{kind} ({tool} did not make it)")
            continue
        try:
            pixels = read_upright(str(path), 100_000_000)
            descriptor = encoder.encode([str(path)])[0]
        except ImageError as error:
            yield Row(kind, tool, f"reported: {error.reason}", None, None)
            continue
        form = library_format(path.read_bytes(), name)
        outcome = f"library, as {form.name}" if form else "graph"
        seen = independent(folder, name, read_by) if read_by else None
        same = seen is not None and seen.shape == pixels.shape
        difference = float(np.abs(pixels.astype(np.float32) - seen).mean()) if same and seen is not None else None
        if seen is not None and not same:
            outcome += f", {pixels.shape[1]}x{pixels.shape[0]} where others see {seen.shape[1]}x{seen.shape[0]}"
        yield Row(kind, tool, outcome, difference, float(descriptor @ original))


def independent(folder: Path, name: str, command: str) -> Pixels | None:
    """What another program sees in a file: (H, W, 3) uint8."""
    out = folder / "seen.png"
    out.unlink(missing_ok=True)
    try:
        _run(command.format(file=name, out=out.name), folder)
        with Image.open(out) as image:
            return np.asarray(image.convert("RGB"))
    except (subprocess.CalledProcessError, OSError):
        return None


def wide_gamut(photographs: Path, encoder: object) -> Iterator[Gamut]:
    """Puts photographs into wide-gamut profiles, colours kept, and encodes them with and without the conversion."""
    from tfvlad.images._boxes import display_profile
    from tfvlad.images.listing import image_paths

    paths = image_paths(photographs)[:100]
    profiles = {"Display P3": display_profile(12), "BT.2020": display_profile(9)}
    if Path(PROFILES, "a98.icc").exists():
        profiles["Adobe RGB"] = Path(PROFILES, "a98.icc").read_bytes()
    for title, profile in profiles.items():
        originals, tagged, bare = [], [], []
        for path in paths:
            with Image.open(path) as image:
                picture = ImageOps.exif_transpose(image).convert("RGB")
            wide = _into(picture, profile)
            originals.append(np.asarray(picture))
            tagged.append(_png(wide, icc_profile=profile))
            bare.append(_png(wide))
        expected = encoder.encode(originals)
        with_it, without = ((encoder.encode(files) * expected).sum(axis=1) for files in (tagged, bare))
        cosines = (float(take(found)) for found in (with_it, without) for take in (np.median, np.min))
        yield Gamut(title, len(paths), *cosines)


def _into(picture: Image.Image, profile: bytes) -> Image.Image:
    from PIL import ImageCms

    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), target, outputMode="RGB")
    return Image.fromarray(np.asarray(converted))  # without the profile


def _png(picture: Image.Image, **options: bytes) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", **options)
    return data.getvalue()


def _run(command: str, folder: Path) -> None:
    program = command.split()[0]
    if shutil.which(program) is None:
        raise FileNotFoundError(program)
    subprocess.run(command, cwd=folder, shell=True, check=True, capture_output=True, timeout=120)


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
