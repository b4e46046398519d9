"""A registry that is away for a moment ends no run: who asks it asks again."""

from types import SimpleNamespace
from typing import Any

import pytest

from components import fingerprint
from components.errors import ServiceUnreachable
from components.registry import glance
from pipelines import running
from pipelines.progress import Plain
from pipelines.steps import UNITS

REGISTRY = ("components.registry", "components.history")


def asks_the_registry(step: str) -> bool:
    """Whether the code of a step comes by the registry or its history."""
    reached = fingerprint.closure(f"components.steps.{step}:{step}").symbols
    return any(name.startswith(REGISTRY) for name in reached)


@pytest.mark.parametrize("step", UNITS)
def test_a_step_asks_the_registry_only_where_it_asks_again(step: str) -> None:
    assert UNITS[step].patient == asks_the_registry(step)


def test_a_run_that_is_done_ends_well_while_the_registry_starts_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receipt names the champion of now; all that the run promised was done before."""
    away = iter([ServiceUnreachable("the registry does not answer", "athanor up")])

    def champion(_name: str) -> int:
        for error in away:
            raise error
        return 3

    monkeypatch.setattr(glance, "champion", champion)
    config: Any = SimpleNamespace(name="tiny")
    end = running.ended(config, Plain(), 0.0, ("a note",))
    assert (end.champion, end.notes) == (3, ("a note",))
    assert "asked again for" in capsys.readouterr().err
