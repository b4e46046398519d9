"""Ranks killed at random moments of a training: `python -m benchmarks.distribution`.

First, what one process and several ranks come to. Then each round trains with two ranks, of which
one is killed with SIGKILL again and again, and compares weights and scores with those of an
undisturbed training. A seed replays its rounds.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from components.launch import ALONE, Launch

Strategy = Literal["ddp", "fsdp"]


def equality() -> None:
    """One process against several ranks, by strategy and their number."""
    from tests.training.several import Wish, answer

    changes = {"budget": {"epochs": 4, "batch_size": 24, "accumulate": 12}}
    one = answer(Wish(folder=_folder(), launch=ALONE, changes=changes))
    for strategy in ("ddp", "fsdp"):
        for processes in (2, 3, 4):
            how = Launch(processes=processes, strategy=strategy)
            begun = time.monotonic()
            found = answer(Wish(folder=_folder(), launch=how, changes=changes))
            same = "identical" if found.sha256 == one.sha256 else "other bits"
            loss = abs(found.scores["val/loss"] - one.scores["val/loss"])
            seconds = time.monotonic() - begun
            _say(
                f"{strategy:<5} {processes} ranks  {same}  |val/loss| {loss:.1e}  {seconds:5.1f} s"
            )


def kills(strategy: Strategy, rounds: int, each: int, seed: int) -> int:
    """How many rounds ended elsewhere than the undisturbed training."""
    from tests.training.several import Wish, answer

    how = Launch(processes=2, strategy=strategy)
    begun = time.monotonic()
    undisturbed = answer(Wish(folder=_folder(), launch=how))
    calm_s = time.monotonic() - begun
    wrong, lost, fell, seconds = 0, 0, 0, []
    for number in range(rounds):
        begun = time.monotonic()
        found = answer(Wish(folder=_folder(), launch=how, kills=each, seed=seed + number))
        seconds.append(time.monotonic() - begun)
        same = (found.sha256, found.scores) == (undisturbed.sha256, undisturbed.scores)
        wrong += not same
        fell += len(found.fell)
        lost += found.facts.get("restarts", 0)
    per_kill_s = (statistics.mean(seconds) - calm_s) / each
    counts = f"{rounds} rounds, {fell} kills, {lost} restarts, {rounds - wrong} identical"
    _say(f"{strategy:<5} {counts}; undisturbed {calm_s:.1f} s, a kill costs {per_kill_s:.1f} s")
    return wrong


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="athanor-ranks-"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """0 where every round ended at the undisturbed bits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5, help="in each round")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    os.environ["ATHANOR_HOME"] = str(_folder())
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from pipelines import child

    child.warm(validates=False)
    equality()
    wrong = [kills(each, wanted.rounds, wanted.kills, wanted.seed) for each in ("ddp", "fsdp")]
    _say(f"replay: --rounds {wanted.rounds} --kills {wanted.kills} --seed {wanted.seed}")
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    raise SystemExit(main())
