"""A registry that is away for a moment ends no run: who asks it asks again."""

import pytest

from components import fingerprint
from pipelines.steps import UNITS

REGISTRY = ("components.registry", "components.history")


def asks_the_registry(step: str) -> bool:
    """Whether the code of a step comes by the registry or its history."""
    reached = fingerprint.closure(f"components.steps.{step}:{step}").symbols
    return any(name.startswith(REGISTRY) for name in reached)


@pytest.mark.parametrize("step", UNITS)
def test_a_step_asks_the_registry_only_where_it_asks_again(step: str) -> None:
    assert UNITS[step].patient == asks_the_registry(step)
