"""The gate on simulated models whose truth is known, through the gate's own code.

Twice as many pairs and more worlds: `python -m benchmarks.gate`.
"""

import re
from collections.abc import Callable

import pytest
from scipy.stats import binom

from benchmarks.gate import (
    BETTER,
    NOT_WORSE,
    POWER,
    SMALLER,
    Pair,
    World,
    coin_toss,
    draw,
    needed,
    power,
    promoted,
    real,
)
from tests.docs import pages

PAIRS = 500
EQUAL = World(rows=300, discordance=0.06)
GAIN = World(rows=450, discordance=0.06, gain=0.03)
PAGE = (pages.ROOT / "docs/how-to/promote-and-roll-back.md").read_text()


def demand_seldom(gate: Callable[[Pair], bool], world: World) -> None:
    """At most 5 % of what must not be promoted is."""
    share = promoted(world, gate, PAIRS, seed=0)
    assert share <= 0.05, f"{share:.1%} of {PAIRS} were promoted"


@pytest.mark.slow
def test_equal_models_are_seldom_promoted() -> None:
    demand_seldom(real(BETTER), EQUAL)


@pytest.mark.slow
def test_a_smaller_model_that_is_worse_by_the_margin_is_seldom_promoted() -> None:
    worse = EQUAL._replace(gain=-NOT_WORSE.margin)
    demand_seldom(real(NOT_WORSE, SMALLER), worse)


def test_a_gate_that_compares_two_numbers_fails_this_check() -> None:
    with pytest.raises(AssertionError, match=r"4\d\.\d% of 500 were promoted"):
        demand_seldom(coin_toss, EQUAL)
