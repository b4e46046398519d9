"""No shipped config reaches code that the fingerprint cannot follow by name."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from components import artifacts, fingerprint
from components.records import Record
from components.validation import expectations
from pipelines.config import RunConfig, load_run, run_files
from pipelines.keys import _members, _types
from pipelines.plan import Forced, Planner, Unknown
from pipelines.train import chain

ROOT = Path(__file__).resolve().parents[2]


class Called(Planner):
    """Reads the chain of a config to its last line; nothing is known of any result."""

    def __init__(self) -> None:
        super().__init__("none", Forced())
        self.steps: dict[str, Callable[..., Record]] = {}

    def __call__(self, name: str, step: Callable[..., Record], *args: Any, **kwargs: Any) -> Any:
        self.steps[name] = step
        return Unknown(name)

    def raw(self, data_set: str) -> Any:
        return Unknown(data_set)

    def decided(self, registered: Any, gate: Any) -> None:
        return None


def records_of(module: ModuleType) -> dict[str, frozenset[str]]:
    """Every record class of a module, as what a step may be given."""
    kinds = [k for k in vars(module).values() if isinstance(k, type) and issubclass(k, Record)]
    own = [kind for kind in kinds if kind.__module__ == module.__name__]
    return {f"{kind.__module__}:{kind.__name__}": _members(kind) for kind in own}


def blind_spots(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """Steps of a run that reach code which cannot be resolved, with that code.

    Each step is offered every option of the config and every kind of record that steps exchange:
    what a real run hands it is among them.
    """
    called = Called()
    chain(called, config)
    offered = {
        **_types(config),
        **records_of(expectations),
        **records_of(artifacts),
    }
    found = {
        name: fingerprint.closure(f"{step.__module__}:{step.__name__}", offered).opaque
        for name, step in called.steps.items()
    }
    return {name: opaque for name, opaque in found.items() if opaque}


@pytest.mark.parametrize("file", run_files(ROOT / "configs"), ids=lambda file: file.stem)
def test_a_shipped_config_has_no_blind_spot(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert blind_spots(load_run(file)) == {}


def test_every_step_of_a_run_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    called = Called()
    chain(called, load_run(ROOT / "configs/quickstart.yaml"))
    assert {step.__name__ for step in called.steps.values()} == {
        "validate", "prepare", "train", "search", "compress", "measure", "evaluate", "select",
        "baseline", "register", "rescore", "judge", "promote",
    }  # fmt: skip
