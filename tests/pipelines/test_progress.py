"""What follows a step's journal: whole lines, once each, whatever happened to the file."""

from pathlib import Path

import pytest

from components.workspace import Workspace
from pipelines.plan import Forced, matches
from pipelines.progress import Plain, Tail, screen


def test_only_lines_since_the_last_look_are_told(tmp_path: Path) -> None:
    here = Workspace(tmp_path)
    here.progress(1, 9)
    tail = Tail(here.journal)
    assert tail.lines() == []
    here.progress(2, 9)
    here.progress(3, 9)
    assert [line["done"] for line in tail.lines()] == [2, 3]
    assert tail.lines() == []


def test_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "journal.jsonl")
    assert tail.lines() == []
    with tail.journal.open("a") as file:
        file.write('{"kind": "progress", "do')
        file.flush()
        assert tail.lines() == []
        file.write('ne": 4}\n')
    assert [line["done"] for line in tail.lines()] == [4]


def test_a_torn_line_stops_nothing(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "journal.jsonl")
    tail.journal.write_bytes(b'{"kind": "pro\n7\n\n\xff\xfe\n{"kind": "progress", "done": 5}\n')
    assert [line["done"] for line in tail.lines()] == [5]


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = screen()
    assert isinstance(shown, Plain)
    shown.step_started("finetune", ("config.seed: 0 -> 1", "more"))
    shown.step_done("finetune", "executed", 1.25)
    shown.step_done("select", "cached", 0.0)
    out, err = capsys.readouterr()
    assert out == ""
    assert "finetune ...  (config.seed: 0 -> 1)" in err
    assert "finetune: done in 1.2 s" in err
    assert "select: cached" in err


def test_forcing_by_name_reaches_a_group_and_from_reaches_the_rest() -> None:
    forced = Forced(("measure",))
    assert [forced(name) for name in ("prepare", "measure-fp32", "measured", "judge")] == [
        False, True, False, False,
    ]  # fmt: skip
    later = Forced((), "finetune")
    assert [later(name) for name in ("pretrain", "finetune", "select")] == [False, True, True]
    assert matches("validate", "validate-words")
    assert not matches("validate", "validated")
