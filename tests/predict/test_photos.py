"""Digits are found on real input: lined paper, shadow, any pen; and hopeless pictures are refused."""

from pathlib import Path

import numpy as np
import pytest
from distortions import DISTORTIONS, Scene
from photos import Answer, answers, missing_fonts
from pictures import EMPTY, FONTS, REDRAWN, TWO, Picture, drawn, hopeless, pictures
from PIL import Image
from shapes import redrawn as redrawn_shape

from mnist_edge.core.errors import PictureError
from mnist_edge.data.dataset import Dataset
from mnist_edge.predict.picture import mnist_like
from mnist_edge.predict.picture import read as read_picture

pytestmark = pytest.mark.extra("a Debian package")


def right(found: list[Answer], distortion: str = "") -> float:
    """The share of right answers, of all or of one distortion."""
    return float(np.mean([x.answer == x.label for x in found if distortion in ("", x.distortion)]))


@pytest.fixture(scope="module")
def redrawn(mnist: Dataset) -> list[Answer]:
    """What `edge` answers to redrawn test digits under the report half's distortions."""
    return answers("report", pictures("report", mnist.test, REDRAWN, 20))


def test_redrawn_digits_are_read(redrawn: list[Answer]) -> None:
    assert len(redrawn) == 20 * len(DISTORTIONS)
    assert right(redrawn) >= 0.92


@pytest.mark.parametrize("name", DISTORTIONS)
def test_no_distortion_is_left_out(redrawn: list[Answer], name: str) -> None:
    assert right(redrawn, name) >= (0.6 if name == "pencil on lines" else 0.75)


def test_lines_as_dark_as_the_pen_are_taken_out(mnist: Dataset) -> None:
    rng = np.random.default_rng(0)
    lined = []
    for image, label in zip(mnist.test.images[:40], mnist.test.labels[:40], strict=True):
        grey = drawn(redrawn_shape(image, int(label)), Scene(rng, width=0.3))
        grey[np.arange(len(grey)) % 40 < 3] = 60
        lined.append(Picture(grey, int(label), REDRAWN, "dark lines"))
    assert right(answers("report", lined)) >= 0.85


def test_fonts_are_read(mnist: Dataset) -> None:
    if missing := missing_fonts():
        pytest.skip(f"fonts are missing: apt-get install {' '.join(missing)}")
    found = answers("report", pictures("report", mnist.test, FONTS, 12))
    assert len({answer.source for answer in found}) == 6
    assert right(found) >= 0.87


@pytest.mark.parametrize(("source", "least"), [(EMPTY, 0.97), (TWO, 0.95)])
def test_what_is_not_one_digit_is_refused_under_every_distortion(mnist: Dataset, source: str, least: float) -> None:
    refused = []
    for half in ("improve", "report"):
        for picture in pictures(half, mnist.train, source, 4):
            try:
                mnist_like(picture.grey)
                refused.append(False)
            except PictureError:
                refused.append(True)
    assert len(refused) == 2 * 4 * len(DISTORTIONS)
    assert np.mean(refused) >= least


def test_the_same_seed_draws_the_same_pictures(mnist: Dataset) -> None:
    one, two = (list(pictures("report", mnist.test, REDRAWN, 1, seed=2)) for _ in range(2))
    other = list(pictures("report", mnist.test, REDRAWN, 1, seed=3))
    assert all(np.array_equal(a.grey, b.grey) for a, b in zip(one, two, strict=True))
    assert not any(np.array_equal(a.grey, b.grey) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", hopeless())
def test_a_hopeless_picture_is_refused_not_guessed(tmp_path: Path, name: str, seed: int) -> None:
    Image.fromarray(hopeless(seed)[name]).save(tmp_path / "x.png")
    with pytest.raises(PictureError, match="no digit found"):
        read_picture(tmp_path / "x.png")
    with pytest.raises(PictureError, match="no digit found"):
        mnist_like(255 - hopeless(seed)[name])
