"""How good a config's models are over several seeds, beside the linear baseline, on test rows.

    python -m benchmarks.quality configs/reviews_zh.yaml --seeds 0 1 2 --pretraining

Every training of the chain but pretraining gets each seed in turn. Intervals are 95 % paired
bootstraps over test rows of the difference, correctness averaged over the seeds first.
`--pretraining` also trains each seed from nothing, for the gain of the pretrained start.
`--set` changes the config as in `athanor run`.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from components import objects
from components.compression import chain_names
from components.evaluation.rows import read
from components.recipe import Recipe
from components.records import Record
from pipelines.child import SETTINGS
from pipelines.config import RunConfig, load_run
from tests.pipelines.direct import Direct

RESAMPLES = 10_000


def main() -> None:
    """Print one table."""
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pretraining", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    config = load_run(options.config, options.assignments)
    runs = [_run(_seeded(config, seed), f"seed {seed}") for seed in options.seeds]
    names = chain_names(config.compress)
    right = {name: _right(runs, f"test-{name}") for name in names}
    linear = _right(runs[:1], "baseline-linear")
    print(f"{options.config.name}: {len(runs)} seeds {options.seeds}, {linear.size} test rows")
    print(f"{'linear baseline':<34} accuracy {linear.mean():.4f}")
    chosen = [run["select"].name for run in runs]
    for name in names:
        each = " ".join(f"{run[f'test-{name}'].scores['accuracy'].value:.4f}" for run in runs)
        val = " ".join(f"{run[f'evaluate-{name}'].scores['accuracy'].value:.4f}" for run in runs)
        print(f"{name:<34} accuracy {right[name].mean():.4f}  (test {each}; val {val})")
        print(f"{'':<34} minus linear {_interval(right[name] - linear)}")
        if name != names[0]:
            print(f"{'':<34} minus {names[0]} {_interval(right[name] - right[names[0]])}")
            _print_cost(runs, names[0], name)
    print(f"selected: {', '.join(chosen)}")
    if options.pretraining and config.pretrain:
        without = config.model_copy(update={"pretrain": None, "compress": ((),)})
        scratch = _right(
            [_run(_seeded(without, s), f"scratch {s}") for s in options.seeds], "test-fp32"
        )
        print(f"{'finetuned without pretraining':<34} accuracy {scratch.mean():.4f}")
        print(f"{'gain of pretraining':<34} {_interval(right[names[0]] - scratch)}")


def _run(config: RunConfig, label: str) -> dict[str, Any]:
    sys.stderr.write(f"{label}\n")
    return Direct(f"benchmark-{config.name}").read(config)


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    """The config with this seed in every training but the pretraining."""
    kept = config.pretrain
    return _with_seed(config, seed).model_copy(update={"pretrain": kept})


def _with_seed(value: Any, seed: int) -> Any:
    if isinstance(value, Recipe):
        return value.model_copy(update={"seed": seed})
    if isinstance(value, Record):
        parts = {name: _with_seed(vars(value)[name], seed) for name in type(value).model_fields}
        return value.model_copy(update=parts)
    if isinstance(value, tuple):
        return tuple(_with_seed(part, seed) for part in value)
    return value


def _right(runs: list[dict[str, Any]], step: str) -> np.ndarray:
    """(rows,) correctness averaged over the runs."""
    return np.mean(
        [read(objects.path(run[step].files["rows.safetensors"])).right for run in runs], axis=0
    )


def _interval(difference: np.ndarray) -> str:
    """Mean difference in points with its 95 % bootstrap interval over rows."""
    draws = np.random.default_rng(0).integers(0, difference.size, (RESAMPLES, difference.size))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    return f"{100 * difference.mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] points"


def _print_cost(runs: list[dict[str, Any]], first: str, name: str) -> None:
    """Size and speed beside the first variant, medians over the seeds."""
    size = np.median(
        [r[f"compress-{first}"].size_bytes / r[f"compress-{name}"].size_bytes for r in runs]
    )
    torch = [r[f"measure-{first}"].latency.torch_batch_1_p50 for r in runs]
    speed = np.median(
        [t / r[f"measure-{name}"].latency.batch_1_p50 for t, r in zip(torch, runs, strict=True)]
    )
    print(f"{'':<34} {size:.1f}x smaller; {speed:.1f}x faster than fp32 PyTorch at batch 1")


if __name__ == "__main__":
    main()
