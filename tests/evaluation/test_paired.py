"""The paired tests against their reference, and what they let through."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from components.evaluation import paired
from components.evaluation.rows import Rows


def answers(right: np.ndarray, unit: np.ndarray | None = None) -> Rows:
    """Rows of two labels, the true one always 0, answered rightly where `right` says so."""
    probability = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8]).astype(np.float32)
    label = np.zeros(len(right), dtype=np.int64)
    return Rows(probability, label, np.arange(len(right)) if unit is None else unit)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 1), (9, 2), (61, 63), (57, 32)])
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    if wins + losses:
        one = binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
        two = binomtest(wins, wins + losses, 0.5).pvalue
    else:
        one = two = 1.0
    assert paired.mcnemar(wins, losses) == pytest.approx(one, rel=1e-9)
    assert paired.mcnemar_two_sided(wins, losses) == pytest.approx(two, rel=1e-9)


def test_the_score_test_without_a_margin_is_the_asymptotic_mcnemar_test() -> None:
    assert paired.noninferiority(57, 32, 1759, 1e-12) == pytest.approx(
        norm.sf((57 - 32) / np.sqrt(57 + 32)), rel=1e-6
    )


def test_models_that_never_disagree_are_not_worse_but_not_better() -> None:
    same = answers(np.arange(400) % 5 > 0)
    assert paired.compare(same, same, test="mcnemar").p_value == 1.0
    assert paired.compare(same, same, test="mcnemar", margin=0.02).p_value < 0.01
    assert paired.compare(same, same, test="bootstrap").p_value == 1.0


def test_the_difference_counts_wins_and_losses_and_holds_zero_for_equals() -> None:
    a = answers(np.array([True] * 30 + [False] * 10))
    b = answers(np.array([True] * 20 + [False] * 10 + [True] * 10))
    found = paired.compare(a, b, test="mcnemar")
    assert (found.wins, found.losses, found.difference.value) == (10, 10, 0.0)
    assert found.difference.low < 0 < found.difference.high
    assert found.difference.n == 40


def test_swapping_the_models_turns_the_difference_around() -> None:
    rng = np.random.default_rng(3)
    a, b = answers(rng.random(500) < 0.8), answers(rng.random(500) < 0.7)
    forward = paired.compare(a, b, test="bootstrap")
    backward = paired.compare(b, a, test="bootstrap")
    assert forward.difference.value == -backward.difference.value
    assert (forward.wins, forward.losses) == (backward.losses, backward.wins)
    assert forward.p_value + backward.p_value == pytest.approx(1, abs=0.02)


def test_rows_of_one_unit_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    person = rng.random(20) < 0.5
    a, b = np.repeat(person, 50), np.repeat(~person, 50)
    alone = paired.compare(answers(a), answers(b), test="bootstrap")
    unit = np.repeat(np.arange(20), 50)
    together = paired.compare(answers(a, unit), answers(b, unit), test="bootstrap")
    width = [one.difference.high - one.difference.low for one in (alone, together)]
    assert width[1] > 5 * width[0]
    assert together.difference.n == 20
    with pytest.raises(ValueError, match="share units: use bootstrap"):
        paired.compare(answers(a, unit), answers(b, unit), test="mcnemar")


def test_other_rows_are_refused() -> None:
    a = answers(np.ones(10, dtype=bool))
    with pytest.raises(ValueError, match="did not answer the same rows"):
        paired.compare(a, a.take(np.arange(9)), test="mcnemar")
    with pytest.raises(ValueError, match="a margin is a share"):
        paired.compare(a, a, test="mcnemar", margin=-0.1)


def test_whatever_two_equals_disagree_on_one_in_twenty_at_most_is_called_better() -> None:
    for disagreements in range(1, 400):
        wins = np.arange(disagreements + 1)
        passing = binom.sf(wins - 1, disagreements, 0.5) <= 0.05
        assert binom.pmf(wins[passing], disagreements, 0.5).sum() <= 0.05


def test_of_20000_equal_models_at_most_one_in_twenty_is_called_better() -> None:
    rng = np.random.default_rng(0)
    wins, losses = _disagreements(rng, models=20_000, rows=1710, ahead=0.05, behind=0.05)
    passed = binom.sf(wins - 1, wins + losses, 0.5) <= 0.05
    assert 0.03 <= passed.mean() <= 0.05


def test_a_model_3_points_better_is_found_in_four_of_five_at_1710_rows() -> None:
    rng = np.random.default_rng(1)
    wins, losses = _disagreements(rng, models=500, rows=1710, ahead=0.075, behind=0.045)
    passed = [paired.mcnemar(int(w), int(b)) <= 0.05 for w, b in zip(wins, losses, strict=True)]
    assert np.mean(passed) >= 0.80


def test_a_model_worse_by_the_margin_seldom_passes_as_not_worse() -> None:
    rng = np.random.default_rng(2)
    wins, losses = _disagreements(rng, models=2000, rows=1710, ahead=0.045, behind=0.065)
    passed = [
        paired.noninferiority(int(w), int(b), 1710, 0.02) <= 0.05
        for w, b in zip(wins, losses, strict=True)
    ]
    assert 0.03 <= np.mean(passed) <= 0.06


def _disagreements(
    rng: np.random.Generator, *, models: int, rows: int, ahead: float, behind: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that only one of two models gets right, for many pairs of models."""
    drawn = rng.multinomial(rows, [ahead, behind, 1 - ahead - behind], size=models)
    return drawn[:, 0], drawn[:, 1]
