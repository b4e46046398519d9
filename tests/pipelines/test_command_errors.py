"""What a wrong command line is answered: one line, the nearest name, exit code 2, no traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli, running
from tests.pipelines import small_project
from tests.pipelines.small_project import Said

Run = Callable[..., Said]
TINY = "configs/tiny.yaml"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runn", TINY), "did you mean run?"),
        (("fly",), "there are: run, plan, why, resume"),
        ((), "the following arguments are required: COMMAND"),
        (("run",), "the following arguments are required: config"),
        (("run", TINY, "--sett", "a=1"), "athanor run takes no '--sett'\n  -> did you mean --set?"),
        (("run", TINY, "--forc=judge"), "did you mean --force?"),
        (("run", TINY, "--offlin"), "did you mean --offline?"),
        (("run", TINY, "other.yaml"), "athanor run takes no 'other.yaml'"),
        (("data", "verfy"), "athanor data knows no 'verfy'\n  -> did you mean verify?"),
        (("promote", "tiny", "first"), "argument version: invalid int value: 'first'"),
        (("run", "configs/tinny.yaml"), "no file configs/tinny.yaml\n  -> there are: tiny"),
        (("run", "configs"), "configs is a folder"),
        (("run", TINY, "--force", "fintune"), "did you mean finetune?"),
        (("run", TINY, "--from", "pretrian"), "did you mean pretrain?"),
        (("why", "meassure", "--config", TINY), "did you mean measure?"),
        (("plan", TINY, "--set", "finetune.seeds=1"), "unknown key, did you mean seed"),
        (("plan", TINY, "--set", "seed"), "write --set a.b=value"),
        (("plan", TINY, "--set", "name.x=1"), "names no place in the config"),
        (("plan", TINY, "--set", "data=[wrods]"), "did you mean words?"),
        (("kinds", "architectur"), "architecture"),
        (("data", "verify", "wrods"), "did you mean words?"),
        (("predict", "tiny"), "texts or --file, exactly one of them"),
        (("up", "--mlflow-port", "99999999"), "is no port"),
    ],
)  # fmt: skip
def test_a_wrong_word_gets_the_nearest_right_one(
    tiny: Path, said: Run, words: tuple[str, ...], message: str
) -> None:
    answer = said(*words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err


def test_two_texts_for_one_problem_with_json(tiny: Path, said: Run) -> None:
    """One document for programs on standard output, one line for people on standard error."""
    for words, kind in (
        (("runn", "--json"), "UsageError"),
        (("run", TINY, "--json", "--sett", "a=1"), "UsageError"),
        (("run", TINY, "--json", "--set", "finetune.seed=-1"), "ConfigError"),
        (("plan", TINY, "--json", "--set", "data=[wrods]"), "UsageError"),
    ):
        answer = said(*words)
        assert answer.out.count("\n") == 1
        error = json.loads(answer.out)["error"]
        assert set(error) == {"kind", "message", "remedy", "exit_code"}
        assert (error["kind"], error["exit_code"]) == (kind, 2)
        assert f"athanor: {error['message']}" in answer.err


def test_damaged_data_are_code_6_and_name_the_file(tiny: Path, said: Run) -> None:
    (tiny / "data/words/val/0000.jsonl").write_text("{}\n")
    for words in (("plan", TINY), ("run", TINY), ("data", "verify")):
        answer = said(*words)
        assert answer.code == 6
        assert "data/words/val/0000.jsonl has md5" in answer.err


def test_outside_a_project_it_is_said_so(
    said: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(small_project.CONFIG)
    answer = said("plan", "a.yaml")
    assert answer.code == 2
    assert "is not inside an Athanor project" in answer.err


def test_absent_data_are_named_with_the_command_that_gets_them(tiny: Path, said: Run) -> None:
    shutil.rmtree(tiny / "data/words")
    answer = said("run", TINY, "--offline")
    assert answer.code == 5
    assert "-> athanor data pull words" in answer.err
    answer = said("plan", TINY)
    assert answer.code == 6
    assert "-> athanor data pull words" in answer.err


def broken(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any) -> Any:
        raise error

    return raise_it


def test_a_bug_of_ours_is_code_70_in_one_line(
    tiny: Path, said: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "plan", broken(RuntimeError("Traceback\n  many lines\nthe end")))
    answer = said("plan", TINY, "--json")
    assert answer.code == 70
    assert json.loads(answer.out)["error"]["message"] == "this is a bug: RuntimeError: the end"
    assert "--debug" in answer.err
    assert "Traceback" not in answer.err
    with pytest.raises(RuntimeError, match="the end"):
        said("plan", TINY, "--debug")


def test_debug_shows_where_an_error_of_the_users_came_from(tiny: Path) -> None:
    with pytest.raises(cli.UsageError, match="no step is called"):
        cli.run(("plan", TINY, "--force", "x", "--debug"))


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=["int", "term"]
)
def test_an_interruption_says_how_to_go_on(
    tiny: Path, said: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    monkeypatch.setattr(running, "asked", broken(error))
    answer = said("run", TINY, "--set", "data=[a b]", "--json")
    assert answer.code == code
    assert "-> athanor run configs/tiny.yaml --set 'data=[a b]' --json" in answer.err
    assert json.loads(answer.out)["error"]["exit_code"] == code


def test_help_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.run(["run", "--help"])
    assert "a YAML file" in capsys.readouterr().out
