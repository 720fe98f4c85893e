"""Pictures of digits become MNIST-like images."""

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photos import missing_fonts
from pictures import SOURCES, hopeless, pictures
from PIL import Image, ImageDraw
from support.commands import Run

from mnist_edge.core.errors import PictureError
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats.runner import Images
from mnist_edge.formats.tflite import FORMAT as TFLITE
from mnist_edge.predict import segmentation
from mnist_edge.predict.picture import _grey, mnist_like
from mnist_edge.predict.picture import read as read_picture


def picture(image: Images, scale: int, dark_on_light: bool, shift: int) -> Image.Image:
    """Put a digit, enlarged, off-centre on a larger sheet."""
    digit = Image.fromarray(image).resize((28 * scale, 28 * scale), Image.Resampling.BICUBIC)
    sheet = Image.new("L", (28 * scale + 3 * shift, 28 * scale + shift), 0)
    sheet.paste(digit, (2 * shift, 0))
    return Image.eval(sheet, lambda value: 255 - value) if dark_on_light else sheet


@pytest.mark.parametrize(
    ("scale", "dark_on_light", "shift"), [(1, False, 0), (1, True, 3), (6, True, 40), (9, False, 11)]
)
def test_digits_survive_size_place_and_inversion(
    mnist: Dataset, exports: Path, scale: int, dark_on_light: bool, shift: int
) -> None:
    images, labels = mnist.test.images[:500], mnist.test.labels[:500]
    sheets = [picture(image, scale, dark_on_light, shift) for image in images]
    prepared = np.stack([mnist_like(np.asarray(sheet)) for sheet in sheets])
    with TFLITE.open(exports / "cnn" / "cnn-int8.tflite") as runner:
        right = (runner.run(prepared).argmax(axis=1) == labels).mean()
    assert right >= 0.97


def test_a_digit_is_scaled_to_the_box_and_centred_by_mass() -> None:
    grey = np.full((300, 200), 255, np.uint8)
    grey[10:110, 150:170] = 0  # a bar, 100 high and 20 wide, in a corner
    image = mnist_like(grey)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (rows[0], rows[-1]) == (4, 23)
    assert (columns[0], columns[-1]) == (12, 15)
    assert image.max() == 255


@pytest.mark.parametrize("pen", [5, 12, 30])
@pytest.mark.parametrize(
    ("digit", "strokes"),
    [
        (1, [[(200, 40), (200, 360)]]),
        (7, [[(100, 40), (300, 40), (180, 370)]]),
        (4, [[(100, 30), (60, 250), (350, 250)], [(280, 30), (280, 380)]]),
    ],
)
def test_long_straight_strokes_are_not_taken_for_lines(
    exports: Path, digit: int, strokes: list[list[tuple[int, int]]], pen: int
) -> None:
    sheet = Image.new("L", (400, 400), 255)
    for stroke in strokes:
        ImageDraw.Draw(sheet).line(stroke, fill=0, width=pen)
    image = mnist_like(np.asarray(sheet))
    with TFLITE.open(exports / "cnn" / "cnn-int8.tflite") as runner:
        assert runner.run(image[None]).argmax() == digit


def bar(box: tuple[int, int, int, int]) -> Images:
    """A sheet with one black bar."""
    sheet = Image.new("L", (400, 400), 255)
    sheet.paste(0, box)
    return np.asarray(sheet)


def test_a_one_from_border_to_border_is_read_and_a_dash_is_none(exports: Path) -> None:
    with TFLITE.open(exports / "cnn" / "cnn-int8.tflite") as runner:
        assert runner.run(mnist_like(bar((190, 0, 210, 400)))[None]).argmax() == 1
    with pytest.raises(PictureError, match="could be one digit"):
        mnist_like(bar((100, 190, 300, 210)))


@pytest.mark.parametrize(
    "mode", ["transparent dark", "transparent light", "palette", "colour", "16 bit", "12 of 16 bit", "rotated"]
)
def test_every_kind_of_png_and_jpeg(mnist: Dataset, tmp_path: Path, mode: str) -> None:
    seven = picture(mnist.test.images[0], 8, dark_on_light=True, shift=10)
    expected = mnist_like(np.asarray(seven)).astype(int)
    path = tmp_path / "x.png"
    ink = Image.eval(seven, lambda value: 255 - value)
    if mode.startswith("transparent"):
        shade = 20 if mode.endswith("dark") else 235
        Image.merge("LA", (Image.new("L", seven.size, shade), ink)).save(path)
    elif mode == "palette":
        seven.convert("P").save(path)
    elif mode == "colour":
        Image.merge("RGB", (seven, seven, Image.new("L", seven.size, 255))).save(path)
    elif mode.endswith("16 bit"):
        black, white = (1000, 2500) if mode.startswith("12") else (0, 65535)  # 12 bit: a camera's, in dim light
        Image.fromarray((np.asarray(seven) / 255 * (white - black) + black).astype(np.uint16)).save(path)
    else:
        path = tmp_path / "x.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6  # a camera held on its side: turn it by 90° to see it upright
        seven.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    assert np.abs(read_picture(path).astype(int) - expected).mean() < 6


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_blank_picture_is_no_digit(tmp_path: Path, shade: int) -> None:
    Image.new("L", (100, 80), shade).save(tmp_path / "blank.png")
    with pytest.raises(PictureError, match="no digit found"):
        read_picture(tmp_path / "blank.png")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_a_foreign_file_is_refused(run: Run, exports: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    artifact = exports / "mlp" / "mlp-int8.tflite"
    done = run("predict", tmp_path / "x.png", "--artifact", artifact, check=2)
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["JPEG", "DDS"])
def test_a_damaged_picture_is_refused(tmp_path: Path, kind: str) -> None:
    path, exif = tmp_path / "x", Image.Exif()
    exif[0x010E], exif[0x0112] = "x", 6
    Image.new("RGBA" if kind == "DDS" else "L", (8, 8)).save(path, kind, exif=exif)
    content = bytearray(path.read_bytes())
    if kind == "JPEG":
        content[content.index(b"\x01\x0e") + 1] = 0x18  # a text where a number belongs: struct.error
    else:
        content[80] = 0  # no kind of pixels: NotImplementedError
    path.write_bytes(content)
    with pytest.raises(PictureError, match="not a picture that can be read"):
        read_picture(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"<svg/>", "it is of no kind that Pillow reads"),
        (b"\x89PNG\r\n\x1a\n......", "its header is damaged"),
        (b"\xff\xd8\xff......", "its header is damaged"),
    ],
)
def test_what_is_no_picture_is_told_in_words(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=rf"x\.png is not a picture that can be read \({why}\)\. Give a PNG"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP"])
def test_a_picture_of_several_pages_is_refused(mnist: Dataset, tmp_path: Path, kind: str) -> None:
    pages = [picture(image, 4, dark_on_light=True, shift=0) for image in mnist.test.images[:2]]
    path = tmp_path / "x"
    pages[0].save(path, kind)
    assert read_picture(path).max() == 255
    pages[0].save(path, kind, save_all=True, append_images=pages[1:])
    with pytest.raises(PictureError, match="it has several pages; save the one with the digit"):
        read_picture(path)


def test_a_very_large_picture_is_read_without_a_word(tmp_path: Path) -> None:
    large = Image.new("1", (12_000, 12_000), 1)
    large.paste(0, (5_500, 3_000, 6_500, 9_000))
    large.save(tmp_path / "large.png")
    assert read_picture(tmp_path / "large.png").max() == 255  # a warning would have failed it


NODE = """
import { readFileSync } from "node:fs";
import { greyOf, mnistLike, NoDigit } from "MODULE";
const bytes = readFileSync(process.argv[2]);
const answers = [];
for (let at = 0; at < bytes.length; ) {
  const [height, width, channels] = [0, 4, 8].map((offset) => bytes.readUInt32LE(at + offset));
  const end = at + 12 + height * width * channels;
  const content = new Uint8ClampedArray(bytes.subarray(at + 12, end));
  at = end;
  try {
    const grey = channels === 4 ? greyOf(content, width, height) : null;
    answers.push(Buffer.from(grey ?? mnistLike(new Uint8Array(content), width, height)).toString("hex"));
  } catch (error) {
    if (!(error instanceof NoDigit)) throw error;
    answers.push(error.message);
  }
}
console.log(JSON.stringify(answers));
"""

InNode = Callable[[list[Images]], list[str]]


@pytest.fixture
def in_node(tmp_path: Path) -> InNode:
    """Return pictures to `web/static/picture.js`: grey ones `[H, W]` to mnistLike, RGBA ones `[H, W, 4]` to greyOf."""
    if shutil.which("node") is None:
        pytest.skip("node is not here: apt-get install nodejs")
    module = Path(segmentation.__file__).parents[1] / "web" / "static" / "picture.js"
    script = tmp_path / "run.mjs"
    script.write_text(NODE.replace("MODULE", module.as_uri()), encoding="utf-8")

    def answers(given: list[Images]) -> list[str]:
        heads = [
            struct.pack("<III", *image.shape[:2], image.size // (image.shape[0] * image.shape[1])) for image in given
        ]
        content = b"".join(head + image.tobytes() for head, image in zip(heads, given, strict=True))
        (tmp_path / "pictures").write_bytes(content)
        command = ["node", str(script), str(tmp_path / "pictures")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert len(found) == len(given)
        return list(found)

    return answers


def answer(grey: Images) -> str:
    """The 784 pixels in hexadecimal digits, or why there are none."""
    try:
        return mnist_like(grey).tobytes().hex()
    except PictureError as error:
        return str(error)


@pytest.mark.extra("Node")
def test_javascript_gives_the_same_bits(mnist: Dataset, in_node: InNode) -> None:
    if missing := missing_fonts():
        pytest.skip(f"fonts are missing: apt-get install {' '.join(missing)}")
    rng = np.random.default_rng(0)
    drawn = [p.grey for source in SOURCES for p in pictures("improve", mnist.train, source, 3)]
    drawn += [grey[:: step + 1, ::step] for step, grey in zip((1, 2, 3, 4, 5) * 4, drawn, strict=False)]
    drawn += [grey[70:-70, 60:-60] for grey in drawn[:20]]  # a digit that touches its picture's border
    sizes = [
        (1, 1),
        (1, 300),
        (5, 300),
        (300, 5),
        (2, 2),
        (63, 64),
        (257, 513),
        (700, 900),
        *rng.integers(1, 99, (40, 2)),
    ]
    drawn += [rng.integers(0, 256, size).astype(np.uint8) for size in sizes]
    drawn += [np.kron(rng.integers(0, 2, (9, 7)), np.full((9, 11), 255)).astype(np.uint8) for _ in range(20)]
    drawn += [*hopeless().values(), *mnist.test.images[:50]]
    expected = [answer(grey) for grey in drawn]
    assert in_node(drawn) == expected
    assert sum(len(item) == 2 * 784 for item in expected) > 170
    assert len({item for item in expected if item.startswith("no digit found")}) == 4


def test_javascript_sees_the_same_grey(in_node: InNode) -> None:
    rng = np.random.default_rng(0)
    canvases = [rng.integers(0, 256, (31, 40, 4)).astype(np.uint8) for _ in range(4)]
    canvases[1][:, :, :3] //= 4  # dark strokes, transparent paper
    canvases[2][:, :, 3] = 255
    canvases[3][:, :, 3] = 0
    expected = [np.asarray(_grey(Image.fromarray(canvas, "RGBA"))).tobytes().hex() for canvas in canvases]
    assert in_node(canvases) == expected
