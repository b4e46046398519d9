"""The gate on simulated models whose truth is known, through the gate's own code.

Twice as many pairs and more worlds: `python -m benchmarks.gate`.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.gate import (
    BETTER,
    DISCORDANCES,
    NOT_WORSE,
    POWER,
    SIZE,
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
from components.gate import GateConfig
from tests.docs import pages

PAIRS, AGREEING = 500, 200
"""Pairs of equal models, and of others."""
QUICK = 1000
"""Rows up to which a cell of the tables is computed again."""
EQUAL = World(rows=300, discordance=0.06)
GAIN = World(rows=450, discordance=0.06, gain=0.03)
PAGE = (pages.ROOT / "docs/how-to/promote-and-roll-back.md").read_text()


def demand_seldom(gate: Callable[[Pair], bool], world: World) -> None:
    """At most 5 % of what must not be promoted is."""
    share = promoted(world, gate, PAIRS, seed=0)
    assert share > 0, "nothing was promoted: the gate was not asked what it is asked here"
    assert share <= 0.05, f"{share:.1%} of {PAIRS} were promoted"


def demand_agreement(world: World, gate: GateConfig, size: int) -> None:
    """The gate's own code promotes as often as the exact sum says, but for chance."""
    share = promoted(world, real(gate, size), AGREEING, seed=0)
    low, high = binom.ppf([0.001, 0.999], AGREEING, power(world, gate)) / AGREEING
    assert low <= share <= high, f"{share:.1%}, wanted {low:.1%} to {high:.1%}"


@pytest.mark.slow
def test_equal_models_are_seldom_promoted() -> None:
    demand_seldom(real(BETTER), EQUAL)


@pytest.mark.parametrize("discordance", DISCORDANCES)
@pytest.mark.parametrize("rows", [300, 1000])
def test_chance_alone_passes_at_most_alpha(rows: int, discordance: float) -> None:
    equal = World(rows, discordance)
    worse = equal._replace(gain=-NOT_WORSE.margin)
    assert 0.01 < power(equal, BETTER) <= BETTER.alpha
    # The score test for a margin is no exact test: it holds its level to a tenth of a percent.
    assert 0.01 < power(worse, NOT_WORSE) <= NOT_WORSE.alpha + 0.001


@pytest.mark.slow
def test_a_smaller_model_that_is_worse_by_the_margin_passes_as_seldom_as_the_sum_says() -> None:
    demand_agreement(EQUAL._replace(gain=-NOT_WORSE.margin), NOT_WORSE, SMALLER)


def test_a_gate_that_compares_two_numbers_fails_this_check() -> None:
    with pytest.raises(AssertionError, match=r"4\d\.\d% of 500 were promoted"):
        demand_seldom(coin_toss, EQUAL)


@pytest.mark.slow
def test_a_truly_better_model_is_promoted_as_often_as_the_page_says() -> None:
    assert power(GAIN, BETTER) >= POWER
    assert power(GAIN._replace(rows=GAIN.rows // 3), BETTER) < POWER / 2
    demand_agreement(GAIN, BETTER, SIZE)


def test_a_candidate_of_the_same_size_is_no_gain_for_the_rule_that_asks_for_one() -> None:
    pair = draw(World(rows=3000, discordance=0.03, gain=0.01), np.random.default_rng(0))
    assert not real(NOT_WORSE)(pair)
    assert real(NOT_WORSE, SMALLER)(pair)


def test_drawn_models_are_what_they_are_said_to_be() -> None:
    world = World(rows=200_000, discordance=0.12, gain=0.03)
    pair = draw(world, np.random.default_rng(0))
    assert pair.rival.mean() == pytest.approx(world.accuracy, abs=0.003)
    assert pair.candidate.mean() - pair.rival.mean() == pytest.approx(0.03, abs=0.003)
    assert (pair.candidate != pair.rival).mean() == pytest.approx(0.12, abs=0.003)


@pytest.mark.parametrize(
    ("title", "gate"), [("Better", BETTER), ("Not worse, and smaller or faster", NOT_WORSE)]
)
def test_the_rows_that_the_page_states_are_the_fewest(title: str, gate: GateConfig) -> None:
    stated = 0
    for gain, *cells in pages.table(pages.section(PAGE, title)):
        for discordance, cell in zip(DISCORDANCES, cells, strict=True):
            rows = None if cell == "-" else int(cell.replace(",", ""))
            if rows is None or rows <= QUICK:
                points = float(gain.removesuffix(" points").removesuffix(" point"))
                assert rows == needed(discordance, points / 100, gate), (gain, discordance)
                stated += rows is not None
    assert stated >= 1
