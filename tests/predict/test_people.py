"""Pictures as people make them: tight crops, few pixels, boxes, broken strokes; what is no digit is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.commands import Run

from mnist_edge.core.errors import PictureError
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats.runner import Images
from mnist_edge.formats.tflite import FORMAT as TFLITE
from mnist_edge.predict.picture import mnist_like


def cropped(image: Images) -> Images:
    """Return a digit without a margin."""
    rows, columns = np.flatnonzero((image > 40).any(axis=1)), np.flatnonzero((image > 40).any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resized(image: Images, width: int, height: int) -> Images:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def in_a_box(image: Images) -> Images:
    """Return a digit in a printed box whose lines are a 24th of the picture wide and do not all reach the border."""
    sheet = Image.new("L", (192, 160), 245)
    sheet.paste(90, (58, 36), Image.fromarray(resized(image, 84, 84)))
    draw = ImageDraw.Draw(sheet)
    for line in ((12, 14, 191, 14), (12, 146, 191, 146), (12, 14, 12, 146), (178, 0, 178, 159)):
        draw.line(line, fill=20, width=8)
    return np.asarray(sheet)


def broken(image: Images) -> Images:
    """Return a large digit whose strokes are cut by thin gaps."""
    large = resized(image, 200, 200).copy()
    large[70:72], large[120:122] = 0, 0
    return large


FORMS: dict[str, Callable[[Images], Images]] = {
    "tight": cropped,
    "tight and large": lambda image: resized(cropped(image), 240, 240),
    "16×16 to all borders": lambda image: np.where(resized(cropped(image), 16, 16) > 90, 255, 0).astype(np.uint8),
    "cut by the border": lambda image: resized(cropped(image), 150, 200)[8:],
    "in a box": in_a_box,
    "broken": broken,
}


@pytest.mark.parametrize(("form", "least"), list(zip(FORMS, (0.95, 0.85, 0.75, 0.8, 0.85, 0.8), strict=True)))
def test_digits_are_found(mnist: Dataset, exports: Path, form: str, least: float) -> None:
    images, right = mnist.train.images[:60], 0
    with TFLITE.open(exports / "cnn" / "cnn-int8.tflite") as runner:
        for number, (image, label) in enumerate(zip(images, mnist.train.labels, strict=False)):
            grey = FORMS[form](image)
            grey = 255 - grey if number % 2 and form != "in a box" else grey
            try:
                right += int(runner.run(mnist_like(grey)[None]).argmax() == label)
            except PictureError:
                continue
    assert right >= least * len(images)


def test_what_is_left_out_is_told() -> None:
    sheet = Image.new("L", (200, 200), 255)
    for left in (20, 90, 160):
        ImageDraw.Draw(sheet).line([(left, 40), (left, 160)], fill=0, width=10)
    with pytest.raises(PictureError, match="more than one thing"):
        mnist_like(np.asarray(sheet))


def test_a_comb_is_no_digit() -> None:
    sheet = Image.new("L", (200, 200), 255)
    draw = ImageDraw.Draw(sheet)
    draw.line([(30, 40), (170, 40)], fill=0, width=8)
    for left in range(34, 170, 22):
        draw.line([(left, 40), (left, 160)], fill=0, width=8)
    with pytest.raises(PictureError, match="could be one digit"):
        mnist_like(np.asarray(sheet))


@pytest.mark.parametrize("threshold", [None, 0.999999])
def test_a_threshold_refuses_what_the_network_does_not_know(
    run: Run, exports: Path, tmp_path: Path, threshold: float | None
) -> None:
    folder = tmp_path / "cnn"
    shutil.copytree(exports / "cnn", folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["artifacts"]:
        entry["contract"]["threshold"] = threshold
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    sheet = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(sheet).line([(40, 40), (160, 160), (100, 100), (160, 40), (40, 160)], fill=0, width=14)
    sheet.save(tmp_path / "x.png")
    done = run("predict", tmp_path / "x.png", "--artifact", folder, check=2 if threshold else 0)
    assert ("looks like none of the ten digits" in done.stderr) == (threshold is not None)
