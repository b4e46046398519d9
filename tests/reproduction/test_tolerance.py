"""Scores in place of bytes: within, outside, and never for want of a score."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.bundle import provenance
from pipelines import reproducing
from pipelines.reproducing import Reproduction, Wishes, reproduce
from tests.reproduction.makings import a_making, write


def scores(value: float, **more: float) -> dict[str, Any]:
    """Scores on test rows."""
    named = {"accuracy": value, **more}
    score = {"low": 0.8, "high": 1.0, "n": 50}
    return {"test": {name: {"value": each, **score} for name, each in named.items()}}


@pytest.fixture
def remade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reproduces a version of accuracy 0.9 whose remake has these scores."""
    clone = Path(__file__).parents[2]
    monkeypatch.setattr(provenance, "source", lambda: clone)
    monkeypatch.setattr(reproducing, "has_commit", lambda _commit: True)
    for name in provenance.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)

    def run(found: dict[str, Any], tolerance: float | None) -> Reproduction:
        here = a_making(scores=found)._replace(bundle="9" * 64)
        monkeypatch.setattr(reproducing, "remake", lambda *_: here)
        return reproduce(Wishes("", write(a_making(), tmp_path / "v"), tolerance))

    return run


@pytest.mark.parametrize(
    ("value", "tolerance", "verdict"),
    [
        (0.9, 0.0, "within"),
        (0.905, 0.5, "within"),
        (0.895, 0.5, "within"),
        (0.906, 0.5, "outside"),
        (0.894, 0.5, "outside"),
    ],
)
def test_a_score_may_differ_by_so_many_points_and_no_more(
    remade: Any, value: float, tolerance: float, verdict: str
) -> None:
    found = remade(scores(value), tolerance)
    assert found.verdict == verdict
    assert reproducing.exit_code(found) == {"within": 0, "outside": 6}[verdict]
    said = reproducing.text(found).splitlines()
    assert said[-1] == f"{verdict.upper()} {tolerance:g} points, another sha256"
    assert said[-2].startswith(f"accuracy   0.9000 [0.8000, 1.0000] there, {value:.4f} [")


def test_without_a_tolerance_equal_scores_are_not_enough(remade: Any) -> None:
    found = remade(scores(0.9), None)
    assert found.verdict == "diverged"
    assert reproducing.exit_code(found) == 6


def test_no_common_score_is_not_within(remade: Any) -> None:
    assert remade({"test": {}}, 100.0).verdict == "outside"


def test_the_folder_of_a_remake_goes_unless_it_is_to_stay(
    remade: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = []
    remade(scores(0.9), None)
    known = reproducing.remake

    def noted(made: Any, place: Any, tell: Any) -> Any:
        (place.folder / "work").mkdir()
        places.append(place.folder)
        return known(made, place, tell)

    monkeypatch.setattr(reproducing, "remake", noted)
    for keep in (False, True):
        found = reproduce(Wishes("", write(a_making(), tmp_path / "v"), keep=keep))
        assert places[-1].exists() is keep
        assert found.folder == (str(places[-1]) if keep else None)
    shutil.rmtree(places[-1])
