"""Killed at any rename, an intake leaves the old state or the new one, and loses no shard."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from components import intake
from components.data import check, pointer
from components.data.tree import scan
from components.errors import IntegrityError
from components.validation.expectations import Expectations
from tests.intake.conftest import Arrive, fresh
from tests.pipelines import small_project


def killed(nth: int, suite: Expectations) -> bool:
    """Take in what waits in a process that dies at its n-th rename; whether it did."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), "the child failed by itself"
        return os.WIFSIGNALED(status)
    passed = 0

    def die(event: str, _: tuple) -> None:
        nonlocal passed
        if event != "os.rename":
            return
        passed += 1
        if passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    code = 1
    try:
        intake.take_in("words", intake.waiting("words"), suite)
        code = 0
    finally:
        os._exit(code)


@pytest.mark.slow
def test_a_kill_at_any_rename_leaves_the_old_or_the_new(
    words: Path, arrive: Arrive, suite: Expectations
) -> None:
    rows = fresh(300, 20)
    arrive(rows)
    old = pointer.recorded(words).digest
    whole = intake.take_in("words", intake.waiting("words"), suite)  # imports what is heavy
    seen, unsettled, nth = set(), 0, 0
    while True:
        nth += 1
        shutil.rmtree(words / "data")
        shutil.rmtree(words / "incoming")
        small_project.write_words(words)
        arrive(rows)
        if not killed(nth, suite):
            break
        unsettled += (words / "data.taking").is_dir()
        state = check.verify(["words"]).data_sets[0].tree
        assert scan(words / "data").digest == pointer.recorded(words).digest
        assert not (words / "data.taking").exists()
        new = state == whole.after
        assert new or state == whole.before
        seen.add(new)
        assert len(intake.waiting("words")) == (0 if new else 1), "the shard is in one place"
        assert len(list((words / "incoming").rglob("*week.jsonl"))) == 1
        if not new:
            again = intake.take_in("words", intake.waiting("words"), suite)
            assert again.after == whole.after
    assert nth > 10
    assert seen == {True, False}
    assert unsettled > 5, "some kills left a plan to go on with"
    assert pointer.recorded(words).digest == whole.tree != old


def test_a_plan_that_fits_no_more_is_named(words: Path, arrive: Arrive, suite) -> None:
    arrive(fresh(300, 20))
    nth = 1
    while killed(nth, suite) and not (words / "data.taking").is_dir():
        nth += 1
    assert (words / "data.taking").is_dir()
    extra = words / "data/words/train/0009.jsonl"
    extra.write_text('{"id": "x", "label": "bad", "text": "another state"}\n')
    small_project.record(words)
    with pytest.raises(IntegrityError, match=r"is no more what data\.dvc records"):
        check.verify(["words"])
