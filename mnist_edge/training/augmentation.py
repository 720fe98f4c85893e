"""Varies training images as hands, pens and cameras do: `augmented`, a function for `tf.data`.

Every image is turned, scaled, sheared, moved and bent in one bilinear resampling. Before that its strokes are made
thicker or thinner; after it the image is blurred, its contrast changed, and noise added. The elastic field is that of
Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document analysis"
(2003), drawn on a coarse grid.
"""

import math
from dataclasses import dataclass
from typing import Any

SIDE = 28
CENTRE = (SIDE - 1) / 2


@dataclass(frozen=True)
class Augmentation:
    """The largest change of each kind; each image's is drawn evenly from both signs, 0 is no change.

    Attributes:
        turn: degrees.
        scale: natural logarithm of the factor, for both axes together; `stretch` for one against the other.
        shear: horizontal pixels a vertical pixel.
        move: pixels, in both directions.
        bend: standard deviation in pixels of the elastic field's grid points.
        grid: grid points of the elastic field on each side.
        stroke: share of a grey dilation or erosion by one pixel.
        blur: share of a 3×3 mean.
        contrast: share by which all pixels are scaled.
        noise: standard deviation of normal noise, of a white pixel's 1.
    """

    turn: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    move: float = 0.0
    bend: float = 0.0
    grid: int = 5
    stroke: float = 0.0
    blur: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0


def augmented(images: Any, change: Augmentation) -> Any:
    """Return varied images: a float32 tensor `[N, 28, 28]` in [0, 1], as `images` is."""
    import tensorflow as tf

    count = tf.shape(images)[0]

    def drawn(most: float, shape: tuple[int, ...] = (1, 1), least: float | None = None) -> Any:
        return tf.random.uniform([count, *shape], -most if least is None else least, most)

    if change.stroke:
        images = _pen(tf, images, drawn(change.stroke))
    images = _resampled(tf, images, *_positions(tf, count, change, drawn))
    if change.blur:
        mean = tf.nn.avg_pool2d(images[..., None], 3, 1, "SAME")[..., 0]
        images += tf.nn.relu(drawn(change.blur)) * (mean - images)  # half of the images stay sharp
    if change.contrast:
        images *= 1 + drawn(change.contrast)
    if change.noise:
        images += tf.random.normal(tf.shape(images)) * drawn(change.noise, least=0.0)
    return tf.clip_by_value(images, 0.0, 1.0)


def _pen(tf: Any, images: Any, share: Any) -> Any:
    """Return images with thicker strokes where `share` is positive, and thinner ones where it is negative."""
    channel = images[..., None]
    thick = tf.nn.max_pool2d(channel, 3, 1, "SAME")[..., 0]
    thin = -tf.nn.max_pool2d(-channel, 3, 1, "SAME")[..., 0]
    return images + tf.where(share > 0, share * (thick - images), share * (images - thin))


def _positions(tf: Any, count: Any, change: Augmentation, drawn: Any) -> tuple[Any, Any]:
    """Return from where each pixel is taken, row and column, each float32 `[N, 784]`."""
    axis = tf.range(SIDE, dtype=tf.float32) - CENTRE
    rows, columns = (tf.reshape(item, [1, SIDE * SIDE]) for item in tf.meshgrid(axis, axis, indexing="ij"))
    flat = (1,)
    angle, scale = drawn(change.turn * math.pi / 180, flat), drawn(change.scale, flat)
    stretch, shear = drawn(change.stretch, flat), drawn(change.shear, flat)
    y = (tf.cos(angle) * rows - tf.sin(angle) * columns) * tf.exp(scale + stretch)
    x = (tf.sin(angle) * rows + tf.cos(angle) * columns) * tf.exp(scale - stretch) + shear * rows
    y, x = y + drawn(change.move, flat), x + drawn(change.move, flat)
    if change.bend:
        # its strength differs from image to image, so that straight ones stay in
        field = tf.random.normal([count, change.grid, change.grid, 2]) * drawn(change.bend, (1, 1, 1), least=0.0)
        field = tf.reshape(tf.image.resize(field, [SIDE, SIDE]), [count, SIDE * SIDE, 2])
        y, x = y + field[..., 0], x + field[..., 1]
    return y + CENTRE, x + CENTRE


def _resampled(tf: Any, images: Any, y: Any, x: Any) -> Any:
    """Return images taken from positions between their pixels, bilinearly; around an image all is black."""
    side = SIDE + 2
    flat = tf.reshape(tf.pad(images, [[0, 0], [1, 1], [1, 1]]), [-1])
    y, x = (tf.clip_by_value(item + 1, 0.0, side - 1.001) for item in (y, x))
    top, left = tf.floor(y), tf.floor(x)
    down, right = y - top, x - left
    first = tf.range(tf.shape(images)[0])[:, None] * side**2
    corner = first + tf.cast(top, tf.int32) * side + tf.cast(left, tf.int32)
    upper = tf.gather(flat, corner) * (1 - right) + tf.gather(flat, corner + 1) * right
    lower = tf.gather(flat, corner + side) * (1 - right) + tf.gather(flat, corner + side + 1) * right
    return tf.reshape(upper * (1 - down) + lower * down, [-1, SIDE, SIDE])
