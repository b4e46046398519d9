"""Grey images shifted, turned and scaled, many at once."""

from dataclasses import dataclass

import numpy as np

from components.recipe import Augmentation


@dataclass(frozen=True)
class Placement:
    """How each image is moved: one entry per row."""

    shift: np.ndarray
    """(rows, 2) pixels down and right."""
    angle: np.ndarray
    """(rows,) radians, counter-clockwise."""
    scale: np.ndarray
    """(rows,) factor of size."""

    def of(self, rows: np.ndarray) -> "Placement":
        """The placement of some rows."""
        return Placement(self.shift[rows], self.angle[rows], self.scale[rows])


def draw(augmentation: Augmentation, rows: int, rng: np.random.Generator) -> Placement:
    """A placement for every row of a split; row i's depends on nothing but rng's seed and i."""
    chance = rng.uniform(-1, 1, (rows, 4))
    return Placement(
        shift=chance[:, :2] * augmentation.shift_pixels,
        angle=chance[:, 2] * np.deg2rad(augmentation.rotate_degrees),
        scale=1 + chance[:, 3] * augmentation.scale,
    )


def placed(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    """(rows, height, width) float32: moved about the centre, bilinear, black outside."""
    rows, height, width = pixels.shape
    shift = placement.shift.astype(np.float32)
    angle, scale = placement.angle.astype(np.float32), placement.scale.astype(np.float32)
    middle = np.array([(height - 1) / 2, (width - 1) / 2], dtype=np.float32)
    down = np.arange(height, dtype=np.float32)[None, :, None] - middle[0] - shift[:, 0, None, None]
    right = np.arange(width, dtype=np.float32)[None, None, :] - middle[1] - shift[:, 1, None, None]
    cosine = (np.cos(angle) / scale)[:, None, None]
    sine = (np.sin(angle) / scale)[:, None, None]
    # Each output pixel asks where it came from; a frame of black catches what comes from outside.
    y = np.clip(cosine * down + sine * right + middle[0], -1, height) + 1
    x = np.clip(cosine * right - sine * down + middle[1], -1, width) + 1
    top, left = y.astype(np.int32), x.astype(np.int32)
    below, beside = y - top, x - left
    framed = np.zeros((rows, height + 3, width + 3), dtype=np.float32)
    framed[:, 1:-2, 1:-2] = pixels
    flat = framed.ravel()
    stride = width + 3
    first = top * stride + left + (np.arange(rows, dtype=np.int32) * framed[0].size)[:, None, None]
    upper = flat[first] * (1 - beside) + flat[first + 1] * beside
    lower = flat[first + stride] * (1 - beside) + flat[first + stride + 1] * beside
    return upper * (1 - below) + lower * below
