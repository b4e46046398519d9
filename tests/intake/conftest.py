"""A small project and shards that arrive in it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from components.validation.expectations import Expectations
from pipelines.config import load_expectations
from tests.pipelines import small_project

Arrive = Callable[..., Path]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project, which is the working folder of the test."""
    project = small_project.write(tmp_path / "tiny")
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def suite(words: Path) -> Expectations:
    return load_expectations("words")


@pytest.fixture
def arrive(words: Path) -> Arrive:
    """Puts a shard into `incoming/words/`: rows, or lines as they are."""

    def put(rows: Sequence[dict[str, str] | str], name: str = "week.jsonl") -> Path:
        place = words / "incoming/words" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = [one if isinstance(one, str) else json.dumps(one) for one in rows]
        place.write_text("".join(f"{line}\n" for line in lines))
        return place

    return put


def fresh(first: int, count: int) -> list[dict[str, str]]:
    """Rows that the small project does not have."""
    labels = [("bad", "good")[number % 2] for number in range(first, first + count)]
    return [
        {"label": label, "text": small_project._text(number, label)}
        for number, label in enumerate(labels, start=first)
    ]
