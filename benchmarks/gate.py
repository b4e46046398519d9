"""How often the gate promotes what it should not, and how many test rows it needs to see a gain.

    python -m benchmarks.gate
    python -m benchmarks.gate --pairs 500 --seed 0 --largest 3000

Every verdict comes from the gate's own code: right and wrong answers of two models are drawn row
by row, stored as predictions and judged. `discordance` is the share of rows that exactly one of
the two answers rightly; it says how much two models have in common. The numbers of rows in the
tables are exact sums over what can be drawn, with the gate's own tests deciding each outcome;
`--largest` is the largest such number that is also simulated.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from components import objects
from components.artifacts import (
    Exported,
    Made,
    Measured,
    Parity,
    Predictions,
    Score,
    TrainedModel,
    Variant,
)
from components.evaluation.paired import mcnemar, noninferiority
from components.evaluation.rows import Rows
from components.gate import GateConfig, later_verdict
from components.recipe import Recipe
from components.spec import DataSpec, Input

ACCURACY = 0.9
DISCORDANCES = (0.03, 0.06, 0.12)
"""Seen between versions of one config: 3 %; between a network and its distilled student: 6 %;
between models of two kinds: 12 %."""
GAINS = (0.005, 0.01, 0.02, 0.03, 0.05)
POWER = 0.8
SIZE, SMALLER = 1000, 667
BETTER, NOT_WORSE = GateConfig(rule="better"), GateConfig(rule="non_inferior")


class Pair(NamedTuple):
    """Which of its rows each of two models answers rightly, bool (rows,)."""

    rival: np.ndarray
    candidate: np.ndarray


class World(NamedTuple):
    """What is true of two models."""

    rows: int
    discordance: float
    gain: float = 0.0
    """Accuracy of the candidate minus that of the rival."""
    accuracy: float = ACCURACY
    """Of the rival."""

    @property
    def chances(self) -> tuple[float, float, float, float]:
        """Of a row: both right, only the candidate, only the rival, neither."""
        only_candidate = (self.discordance + self.gain) / 2
        only_rival = (self.discordance - self.gain) / 2
        both = self.accuracy - only_rival
        return both, only_candidate, only_rival, 1 - both - only_candidate - only_rival


Gate = Callable[[Pair], bool]
"""Whether a candidate is promoted."""


def draw(world: World, rng: np.random.Generator) -> Pair:
    """One pair of models with their answers to so many rows."""
    kind = rng.choice(4, size=world.rows, p=world.chances)
    return Pair(rival=(kind == 0) | (kind == 2), candidate=kind <= 1)


def promoted(world: World, gate: Gate, pairs: int, seed: int) -> float:
    """Share of so many drawn pairs whose candidate the gate promotes."""
    rng = np.random.default_rng(seed)
    return sum(gate(draw(world, rng)) for _ in range(pairs)) / pairs


def real(gate: GateConfig, size: int = SIZE) -> Gate:
    """The gate's own code, with a candidate of so many bytes beside a rival of `SIZE`."""

    def judge(pair: Pair) -> bool:
        candidate, rival = _variant(pair.candidate, size), _variant(pair.rival, SIZE)
        return later_verdict(candidate, rival, gate).passed

    return judge


def coin_toss(pair: Pair) -> bool:
    """What a gate does that compares two numbers: between equals, chance decides."""
    return bool(pair.candidate.mean() > pair.rival.mean())


def needed(discordance: float, gain: float, gate: GateConfig) -> int | None:
    """Test rows with which the gate promotes such a candidate four times in five, exactly.

    Rounded up to two digits; None for a gain that such models cannot have.
    """
    if abs(gain) > discordance:
        return None
    grid = _two_digits()
    low, high = 0, len(grid) - 1
    while low < high:
        middle = (low + high) // 2
        if power(World(grid[middle], discordance, gain), gate) >= POWER:
            high = middle
        else:
            low = middle + 1
    return grid[low]


def power(world: World, gate: GateConfig) -> float:
    """Chance that the paired test passes: a sum over the wins and losses that can be drawn."""
    _, wins, losses, _ = world.chances
    lost = np.arange(*_likely(world.rows, losses))
    least = _fewest_wins(lost, world.rows, gate)
    # Of the rows that are not lost, each is won with this chance.
    won = binom.sf(least - 1, world.rows - lost, wins / (1 - losses))
    return float((binom.pmf(lost, world.rows, losses) * won).sum())


def _fewest_wins(lost: np.ndarray, rows: int, gate: GateConfig) -> np.ndarray:
    """For each number of losses the fewest wins with which the gate's test passes.

    More than there are rows where no number of wins is enough.
    """

    def passes(wins: int, losses: int) -> bool:
        if gate.rule == "better":
            return mcnemar(wins, losses) <= gate.alpha
        return noninferiority(wins, losses, rows, gate.margin) <= gate.alpha

    found, wins = [], 0
    for losses in lost.tolist():  # more losses never need fewer wins
        while wins <= rows and not passes(wins, losses):
            wins += 1
        found.append(wins)
    return np.array(found)


def _likely(rows: int, chance: float) -> tuple[int, int]:
    """Numbers of losses that leave out less than one in 10^9."""
    low, high = binom.ppf([1e-9, 1 - 1e-9], rows, chance)
    return int(low), int(high) + 1


def _two_digits() -> list[int]:
    return [lead * 10**zeros for zeros in range(4) for lead in range(10, 100)]


def _variant(right: np.ndarray, size: int) -> Variant:
    """A model of two labels with these answers to the test rows."""
    label = np.arange(len(right)) % 2
    probability = np.full((len(right), 2), 0.1, dtype=np.float32)
    probability[np.arange(len(right)), np.where(right, label, 1 - label)] = 0.9
    rows = Rows(probability, label, np.arange(len(right)))
    share = float(right.mean())
    recipe = Recipe.model_validate(
        {
            "architecture": {"kind": "ngrams"},
            "objective": {"kind": "classification"},
            "optimizer": {"lr": 0.01},
            "budget": {"epochs": 1},
        }
    )
    spec = DataSpec(
        modality="text",
        inputs=(Input(name="ids", dtype="int64", shape=("batch", "length")),),
        labels=("bad", "good"),
        vocabulary_size=9,
        max_length=9,
    )
    exported = Exported(
        name="drawn",
        model=TrainedModel(architecture=recipe.architecture, spec=spec, files={}, recipe=recipe),
        chain=(),
        files={},
        size_bytes=size,
        parity=Parity(rows=1, max_difference=0, top1_agreement=1, shapes=()),
    )
    test = Predictions(
        model="drawn",
        of=exported.digest,
        data="0" * 64,
        split="test",
        objective=recipe.objective.model_dump(mode="json"),
        files={"rows.safetensors": objects.put_bytes(rows.to_bytes())},
        scores={"accuracy": Score(value=share, low=share, high=share, n=len(right))},
    )
    names = ("batch_1_p50", "batch_1_p95", "batch_32_p50", "batch_32_p95")
    made = Made(facts={"latency_ms": dict.fromkeys(names, 1.0)})
    measured = Measured(exported=exported.digest, size_bytes=size, made=made)
    unread = test.model_copy(update={"split": "val"})
    return Variant(exported=exported, measured=measured, validation=unread, test=test)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--largest", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="athanor-gate-") as home:
        os.environ["ATHANOR_HOME"] = home
        _print_errors(options)
        print()
        _print_rows(BETTER, GAINS, "truly better by", options)
        print()
        _print_rows(NOT_WORSE, (0.0, 0.005), "1.5 times smaller, and better by", options)


def _print_errors(options: argparse.Namespace) -> None:
    print("what must not be promoted: share promoted, and what so many pairs gave: ", options.pairs)
    heads = ("better, equal", "1 point worse", "coin toss")
    print(f"{'rows':>6}{'discordance':>13}" + "".join(head.rjust(18) for head in heads))
    for rows in (300, 1000, 3000, 10_000):
        for discordance in DISCORDANCES:
            equal = World(rows, discordance)
            worse = World(rows, discordance, gain=-NOT_WORSE.margin)
            cells = [f"{power(equal, BETTER):.1%}", f"{power(worse, NOT_WORSE):.1%}", ""]
            if rows <= options.largest:
                for at, (world, gate) in enumerate(
                    [(equal, real(BETTER)), (worse, real(NOT_WORSE, SMALLER)), (equal, coin_toss)]
                ):
                    share = promoted(world, gate, options.pairs, options.seed)
                    cells[at] += f" ({share:.1%})"
            line = "".join(cell.rjust(18) for cell in cells)
            print(f"{rows:>6,}{discordance:>13.0%}{line}", flush=True)


def _print_rows(
    gate: GateConfig, gains: Iterable[float], title: str, options: argparse.Namespace
) -> None:
    size = SIZE if gate.rule == "better" else SMALLER
    print(f"{gate.rule}: test rows for {POWER:.0%} promoted, and what {options.pairs} pairs gave")
    print(f"{title:<34}" + "".join(f"discordance {d:.0%}".rjust(24) for d in DISCORDANCES))
    for gain in gains:
        cells = []
        for discordance in DISCORDANCES:
            rows = needed(discordance, gain, gate)
            cell = "-" if rows is None else f"{rows:,}"
            if rows and rows <= options.largest:
                share = promoted(
                    World(rows, discordance, gain), real(gate, size), options.pairs, options.seed
                )
                cell += f" ({share:.1%})"
            cells.append(cell.rjust(24))
        print(f"{100 * gain:>4.1f} points".ljust(34) + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
