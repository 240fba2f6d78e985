"""Digits that look handwritten, drawn with NumPy alone: in place of MNIST and CIFAR-10 where neither is available.

Every digit has a few hand-made styles, each turned once into a field of distances to its nearest stroke. An
image is that field looked up through a random warp and thresholded at a random pen width, so a whole chunk of
images is one gather and some arithmetic. Grey images are light strokes on dark, as in MNIST; colour images
are a coloured digit on a coloured, rippled background, lighter or darker than it, often with another
digit behind.
"""

import functools

import numpy as np

from benchmarks.data.dataset import Array

# STYLES[digit] lists ways to write it. A style is strokes separated by commas; a stroke is points "xy" on a
# grid of 7 columns and 9 rows (origin top left) joined by a smooth curve, so a corner is where one stroke
# ends and the next begins. Every digit has the same number of styles.
STYLES = (
    ("30 51 64 57 38 17 04 11 30", "40 61 64 47 28 07 04 21 40", "30 51 54 57 38 17 14 11 30"),
    ("30 38", "12 30,30 38", "12 30,30 38,18 58"),
    ("02 11 30 51 53 35 08,08 68", "01 20 40 62 54 26 08,08 58", "11 30 51 53 36 18 07 16 37 58 67"),
    (
        "01 20 40 52 43 24,24 54 56 47 28 07",
        "00 50,50 23,23 54 56 47 28 07",
        "11 30 51 53 34,34 55 57 38 18 07",
    ),
    ("10 05,05 65,42 48", "50 05,05 65,50 48", "10 13 24 44 63,60 63 58"),
    (
        "50 10,10 03,03 33 55 47 28 07",
        "60 10,10 13,13 33 54 56 38 18 07",
        "60 20,20 04,04 23 43 55 57 38 18 07",
    ),
    ("50 21 04 06 18 48 67 65 44 24 06", "30 12 05 17 38 57 55 34 15 06", "40 12 05 07 28 47 45 25 06"),
    ("00 60,60 28", "01 00,00 60,60 42 28", "00 60,60 28,14 54"),
    (
        "30 51 53 34 15 17 38 57 55 34 13 11 30",
        "30 51 53 34 05 07 38 67 65 34 13 11 30",
        "30 41 43 34 23 21 30,34 55 57 38 17 15 34",
    ),
    ("51 30 11 03 14 34 53 51,51 58", "52 41 20 02 04 24 43 52,52 55 47 28 07", "50 20 02 14 34 52,50 58"),
)
REACH = 1.4  # a field covers [-REACH, REACH] in both directions, a digit [-0.75, 0.75] by [-1, 1]
CELLS = 128  # a field's rows and columns: so many that the nearest cell stands in for interpolation
CHUNK = 128  # images drawn at a time: few enough for their temporaries to stay in cache


def _trace(stroke: str) -> Array:
    """Points (x, y) of a stroke's Catmull-Rom spline, closed if it ends as it began: float32 [points, 2]."""
    knots = np.array([(int(point[0]) - 3, int(point[1]) - 4) for point in stroke.split()], np.float32) / 4
    closed = stroke[:2] == stroke[-2:]
    before, after = (knots[-2], knots[1]) if closed else (2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2])
    knots = np.vstack([before, knots, after])
    a, b, c, d = knots[:-3], knots[1:-2], knots[2:-1], knots[3:]
    t = np.linspace(0, 1, 32, dtype=np.float32)[:, None, None]
    return (b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))).reshape(-1, 2)


@functools.cache
def _fields() -> Array:
    """Distances to each style's nearest stroke, flat: float32 [digits * styles * rows * columns]."""
    axis = ((np.arange(CELLS, dtype=np.float32) + 0.5) * 2 / CELLS - 1) * np.float32(REACH)
    fields = []
    for style in (style for styles in STYLES for style in styles):
        points = np.vstack([_trace(stroke) for stroke in style.split(",")])
        across, down = np.square(axis[:, None] - points[:, 0]), np.square(axis[:, None] - points[:, 1])
        fields.append(np.sqrt([np.min(row + across, axis=1) for row in down]))
    return np.concatenate(fields, axis=None, dtype=np.float32)


def _uniform(rng: np.random.Generator, n: int, low: float, high: float) -> Array:
    """One number for each of `n` images: float32 [n, 1, 1, 1]."""
    return rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32)


def _ink(rng: np.random.Generator, labels: Array, size: int) -> Array:
    """How much of each pixel the pen covers, for digits [n] drawn at random: float32 [n, 1, size, size]."""
    uniform = functools.partial(_uniform, rng, len(labels))
    axis = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    x, y = axis - uniform(-0.25, 0.25), axis[:, None] - uniform(-0.2, 0.2)
    angle, scale = uniform(-0.4, 0.4), uniform(0.5, 0.8)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    u, v = cos * x + sin * y, cos * y - sin * x
    # Narrowed or widened and slanted, then bent along both axes.
    u = u * uniform(0.85, 1.3) + v * (uniform(-0.4, 0.4) + uniform(-0.3, 0.3) * v)
    v += uniform(-0.3, 0.3) * u * u
    column, row = (np.clip((w / REACH + 1) * (CELLS / 2), 0, CELLS - 1).astype(np.intp) for w in (u, v))
    style = labels * len(STYLES[0]) + rng.integers(len(STYLES[0]), size=len(labels))
    distance = _fields().take((style[:, None, None, None] * CELLS + row) * CELLS + column)
    # A ramp of one pixel from paper to ink is a crisp edge, a longer one a soft pen.
    ramp = uniform(1, 2) * 2 / (size * scale)
    ink: Array = np.clip((uniform(0.07, 0.17) - distance) / ramp + 0.5, 0, 1)
    return ink


def _paint(rng: np.random.Generator, ink: Array) -> Array:
    """Two contrasting colours over a ripple, from coverage [n, 1, size, size]: float32 [n, 3, size, size]."""
    size = ink.shape[-1]
    uniform = functools.partial(_uniform, rng, len(ink))
    # Clutter: in about half of the images the digit drawn before this one shows through, off centre.
    ink = np.maximum(ink, np.roll(ink, (1, size * 5 // 8), (0, -1)) * uniform(-0.7, 0.7))
    # About half way around the circle of greys: contrast with nothing to reject, mostly light on dark.
    paper_grey = uniform(0, 0.7)
    pen_grey = (paper_grey + uniform(0.45, 0.55)) % 1
    paper, pen = (grey + rng.normal(0, 0.1, (len(ink), 3, 1, 1)).astype(np.float32) for grey in (paper_grey, pen_grey))
    axis = np.arange(size, dtype=np.float32) / size
    ripple = np.sin(uniform(-15, 15) * axis + (uniform(-15, 15) * axis[:, None] + uniform(0, 2 * np.pi)))
    tones: Array = paper + ripple * uniform(0, 0.15) + (pen - paper) * ink
    return tones


def digits(count: int, image_shape: tuple[int, int, int] = (28, 28, 1), *, seed: int = 0) -> tuple[Array, Array]:
    """Draws random digits with their labels, the ten classes as equal in number as `count` allows.

    Args:
        count: How many images to draw.
        image_shape: Height, width and channels: square, grey with 1 channel and coloured with 3.
        seed: Fixes every random choice. Under one version of NumPy equal arguments give equal arrays;
            another seed gives other images.

    Returns:
        Images, uint8 [count, height, width, channels], and labels, int64 [count], in random order.

    Raises:
        TypeError: If `count` or `seed` is not an integer.
        ValueError: If `count` is not positive, `seed` is negative, or `image_shape` is not one of the above.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            raise TypeError(f"`{name}` must be an integer; got {value!r}")
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}; got {value}")
    size = image_shape[0] if len(image_shape) == 3 else 0
    if tuple(image_shape) not in ((size, size, 1), (size, size, 3)) or size < 16:
        raise ValueError(
            f"`image_shape` must be (size, size, 1) or (size, size, 3) with a size of at least 16; got {image_shape}"
        )
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count, dtype=np.int64) % 10)
    images = np.empty((count, *image_shape), np.uint8)
    for start in range(0, count, CHUNK):
        chunk = slice(start, start + CHUNK)
        ink = _ink(rng, labels[chunk], size)
        tones = _paint(rng, ink) if image_shape[2] == 3 else ink * _uniform(rng, len(ink), 0.6, 1)
        tones += rng.standard_normal(tones.shape, np.float32) * _uniform(rng, len(ink), 0, 0.1)
        images[chunk] = np.moveaxis(np.clip(tones * 255, 0, 255).astype(np.uint8), 1, -1)
    return images, labels
