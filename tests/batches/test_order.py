"""The order of rows and what chance does to them are pure functions of seed and epoch."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.batches import order

LENGTHS = np.random.default_rng(0).integers(1, 200, 5000)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(0, 700),
    size=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 99),
)
def test_every_row_comes_once_and_one_batch_at_most_is_short(
    rows: int, size: int, seed: int, epoch: int
) -> None:
    batches = order.batches(LENGTHS[:rows], size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert len(batches) == -(-rows // size)
    assert sum(len(batch) < size for batch in batches) <= 1


def flat(seed: int, epoch: int) -> list[int]:
    return [int(row) for batch in order.batches(LENGTHS, 32, seed, epoch) for row in batch]


def test_the_order_depends_on_seed_and_epoch_and_nothing_else() -> None:
    first = flat(3, 5)
    np.random.seed(1)
    assert flat(3, 5) == first
    assert flat(3, 6) != first
    assert flat(4, 5) != first


def test_similar_lengths_come_together_and_batches_in_no_order_of_length() -> None:
    batches = order.batches(LENGTHS, 32, 0, 0)
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    assert padded < 1.1 * LENGTHS.sum()
    longest = [LENGTHS[batch].max() for batch in batches]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


def test_batches_for_evaluation_are_the_same_always() -> None:
    first, again = order.by_length(LENGTHS, 256), order.by_length(LENGTHS, 256)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert sorted(row for batch in first for row in batch) == list(range(len(LENGTHS)))


@pytest.mark.parametrize("draw", [order.placement_rng, lambda *at: order.arrangement_rng(*at, 2)])
def test_chance_comes_from_seed_and_epoch(draw: object) -> None:
    assert draw(1, 2).random() == draw(1, 2).random()
    assert draw(1, 2).random() != draw(1, 3).random()
    assert draw(1, 2).random() != draw(2, 2).random()


def test_batches_are_made_without_torch() -> None:
    code = (
        "import sys; import components.batches.order, components.batches.images,"
        "components.batches.examples; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
