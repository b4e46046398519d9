"""A home with registered versions that were promoted, for commands that are run as processes."""

from pathlib import Path

from components import history
from components.registry import moving
from components.steps.register import RegisterConfig, register
from tests.registry.variants import a_prepared, a_variant


def told(folder: Path, versions: int = 3) -> None:
    """Versions 1.. of `reviews`, each registered, judged and promoted."""
    data, config = a_prepared(folder), RegisterConfig(name="reviews")
    for seed in range(versions):
        variant = a_variant(folder / str(seed), seed=seed, shift=seed / 10)
        version = register((variant,), variant.exported, config, data=data).version
        history.record("reviews", "judged", version, previous=seed or None, why="better")
        moving.promote("reviews", version, expected=seed or None, why="better", evidence={})
