"""Pictures are moved as said, row by row, and chance is a function of the row."""

import numpy as np
import pytest

from components.batches import images, order
from components.batches.images import Placement
from components.recipe import Augmentation

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 12, 9)).astype(np.uint8)


def still(rows: int, **changes: np.ndarray) -> Placement:
    values = {"shift": np.zeros((rows, 2)), "angle": np.zeros(rows), "scale": np.ones(rows)}
    return Placement(**(values | changes))


def test_nothing_moved_is_the_picture() -> None:
    assert np.array_equal(images.placed(PIXELS, still(6)), PIXELS.astype(np.float32))


def test_whole_pixels_shift_and_black_comes_in() -> None:
    moved = images.placed(PIXELS, still(6, shift=np.tile([2.0, -3.0], (6, 1))))
    assert np.array_equal(moved[:, 2:, :-3], PIXELS[:, :-2, 3:].astype(np.float32))
    assert not moved[:, :2].any()
    assert not moved[:, :, -3:].any()


def test_half_a_pixel_is_the_mean_of_two() -> None:
    moved = images.placed(PIXELS, still(6, shift=np.tile([0.0, 0.5], (6, 1))))
    wanted = (PIXELS[:, :, :-1].astype(np.float32) + PIXELS[:, :, 1:]) / 2
    assert np.allclose(moved[:, :, 1:], wanted, atol=1e-3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles_are_those_of_numpy(turns: int) -> None:
    square = PIXELS[:, :9, :9]
    moved = images.placed(square, still(6, angle=np.full(6, turns * np.pi / 2)))
    assert np.allclose(moved, np.rot90(square, turns, axes=(1, 2)), atol=0.05)


def test_twice_the_size_shows_the_middle() -> None:
    picture = np.zeros((1, 9, 9), dtype=np.uint8)
    picture[0, 4, 4] = 200
    moved = images.placed(picture, still(1, scale=np.array([2.0])))
    assert moved[0, 4, 4] == pytest.approx(200)
    assert moved[0, 4, 5] == pytest.approx(100)
    assert moved[0, 4, 6] == pytest.approx(0, abs=1e-3)


def test_rows_are_moved_alone() -> None:
    placement = images.draw(
        Augmentation(shift_pixels=2, rotate_degrees=15, scale=0.2), 6, np.random.default_rng(0)
    )
    together = images.placed(PIXELS, placement)
    rows = np.array([4])
    assert np.array_equal(images.placed(PIXELS[rows], placement.of(rows))[0], together[4])


def test_a_row_keeps_its_placement_whatever_rows_it_comes_with() -> None:
    augmentation = Augmentation(shift_pixels=2, rotate_degrees=15, scale=0.2)
    first, again = (images.draw(augmentation, 50, order.placement_rng(1, 4)) for _ in range(2))
    assert np.array_equal(first.shift, again.shift)
    more = images.draw(augmentation, 80, order.placement_rng(1, 4))
    assert np.array_equal(first.angle, more.angle[:50])
    other = images.draw(augmentation, 50, order.placement_rng(1, 5))
    assert not np.array_equal(first.shift, other.shift)


def test_placements_stay_inside_what_was_asked() -> None:
    drawn = images.draw(
        Augmentation(shift_pixels=2, rotate_degrees=15, scale=0.2), 5000, np.random.default_rng(0)
    )
    assert 1.9 < np.abs(drawn.shift).max() <= 2
    assert 14 < np.rad2deg(np.abs(drawn.angle)).max() <= 15
    assert drawn.scale.min() >= 0.8
    assert drawn.scale.max() <= 1.2
