import shutil
import sqlite3
import threading

import pytest

from components import history, registry
from components.artifacts import Score, Verdict
from components.errors import GateRefused, IntegrityError, ServiceUnreachable, UsageError
from components.registry import moving
from components.steps.promote import promote
from components.steps.register import RegisterConfig, register
from tests.registry import stores
from tests.registry.variants import a_prepared, a_variant


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A home with four registered versions, which the tests of this file share."""
    home = tmp_path_factory.mktemp("shared-home")
    (home / "templates").mkdir()
    shutil.copyfile(stores.template(tmp_path_factory), home / "templates" / "mlflow.db")
    return home


@pytest.fixture(scope="module")
def registered(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATHANOR_HOME", str(shared))
        data = a_prepared(folder)
        config = RegisterConfig(name="reviews")
        variants = [a_variant(folder / str(s), seed=s, shift=s / 10) for s in range(4)]
        return [register((each,), each.exported, config, data=data) for each in variants]


@pytest.fixture
def versions(shared, registered, monkeypatch):
    """The four versions, no champion, and a history that knows only that they were registered."""
    monkeypatch.setenv("ATHANOR_HOME", str(shared))
    heads = shared / "history" / "reviews.json"
    kept, note = heads.read_bytes(), sql(shared, "SELECT value FROM registered_model_tags")
    yield registered
    sql(shared, "DELETE FROM athanor_history WHERE number > 4")
    sql(shared, "UPDATE registered_model_tags SET value = ?", *note[0])
    sql(shared, "DELETE FROM registered_model_aliases")
    heads.write_bytes(kept)


def sql(home, statement, *values):
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as connection:
        rows = connection.execute(statement, values).fetchall()
    connection.close()
    return rows


def passed(ok: bool = True) -> Verdict:
    return Verdict(
        rule="better", rival="champion v1", candidate="a", against="b",
        difference=Score(value=0.1, low=0.0, high=0.2, n=9), p_value=0.01, wins=3, losses=0,
        checks=({"rule": "better than champion v1", "passed": ok, "observed": "p = 0.4"},),
        passed=ok,
    )  # fmt: skip


def events(name="reviews"):
    return [(event.event, event.version, event.previous) for event in history.history(name)]


def test_references_are_resolved(versions):
    moving.force("reviews", 1, "first")
    registry.set_alias("reviews", "candidate", 2)
    one, two = ({"name": "reviews", "version": number} for number in (1, 2))
    ways = ("reviews", "reviews@champion", "reviews/1", "reviews/v1", "models:/reviews/1")
    for reference in ways:
        assert registry.resolve(reference).model_dump() == one
    assert registry.resolve("reviews@candidate").model_dump() == two
    assert registry.alias("reviews") == 1
    assert registry.alias("reviews", "absent") is None
    assert registry.alias("absent") is None


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("reveiws", "there are: reviews"),
        ("reviews", "reviews has no champion yet"),
        ("reviews@canary", "has no alias 'canary'"),
        ("reviews/7", "no version 7; there are: reviews/1"),
        ("reviews@champion/1", "is no reference"),
        ("", "is no reference"),
        ("it's", "is no model name"),
    ],
)
def test_a_wrong_reference_names_what_exists(versions, reference, words):
    with pytest.raises(UsageError, match=words):
        registry.resolve(reference)


def test_a_passed_verdict_moves_the_champion_and_is_remembered(versions):
    first, second, *_ = versions
    moved = promote(first, passed(), expected=None)
    assert (moved.version, moved.previous, moved.moved) == (1, None, True)
    moved = promote(second, passed(), expected=1)
    assert (moved.version, moved.previous, moved.moved) == (2, 1, True)
    assert registry.alias("reviews") == 2
    last = history.history("reviews")[-1]
    assert (last.event, last.previous, last.evidence["p_value"]) == ("promoted", 1, 0.01)
    assert last.evidence["bundle"] == second.bundle
    assert "@" in last.who
    assert last.at.endswith("+00:00")


def test_a_failed_verdict_moves_nothing(versions):
    first = versions[0]
    with pytest.raises(GateRefused, match=r"better than champion v1: p = 0\.4"):
        promote(first, passed(False), expected=None)
    assert registry.alias("reviews") is None
    assert events()[-1] == ("refused", 1, None)


def test_a_stale_comparison_is_refused(versions):
    promote(versions[0], passed(), expected=None)
    promote(versions[1], passed(), expected=1)
    with pytest.raises(moving.ChampionMoved, match="is now v2, you compared v1") as caught:
        promote(versions[2], passed(), expected=1)
    assert caught.value.exit_code == 2
    assert registry.alias("reviews") == 2
    assert events()[-1] == ("refused", 3, 2)


def test_promoting_the_champion_again_does_nothing(versions):
    first = versions[0]
    promote(first, passed(), expected=None)
    before = registry.alias("reviews")
    again = promote(first, passed(), expected=None)
    assert not again.moved
    assert registry.alias("reviews") == before
    told = [event for event, *_ in events()]
    assert (told.count("judged"), told.count("promoted")) == (1, 1)


@pytest.mark.parametrize("lost", ["record_once", "move"])
def test_a_promotion_whose_answer_was_lost_is_made_and_told_once(versions, monkeypatch, lost):
    """The registry's server died after it had written, and the step is done again."""
    real = getattr(history, lost)

    def silent(*given, **more):
        real(*given, **more)
        raise ServiceUnreachable("the registry does not answer", "athanor up")

    with monkeypatch.context() as patch:
        patch.setattr(history, lost, silent)
        with pytest.raises(ServiceUnreachable):
            promote(versions[0], passed(), expected=None)
    promote(versions[0], passed(), expected=None)
    assert registry.alias("reviews") == 1
    told = [event for event, *_ in events()]
    assert (told.count("judged"), told.count("promoted")) == (1, 1)


def test_racing_promotions_have_one_winner(versions):
    promote(versions[0], passed(), expected=None)
    outcomes: list[str] = []

    def work(version):
        try:
            promote(version, passed(), expected=1)
            outcomes.append("won")
        except moving.ChampionMoved:
            outcomes.append("refused")

    threads = [threading.Thread(target=work, args=(version,)) for version in versions[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "refused", "won"]
    assert [event for event, *_ in events()].count("refused") == 2


def test_a_version_that_was_rolled_back_needs_a_person(versions):
    first, second, *_ = versions
    promote(first, passed(), expected=None)
    promote(second, passed(), expected=1)
    back = moving.rollback("reviews", "wrong answers in production")
    assert (back.version, back.previous) == (1, 2)
    assert registry.alias("reviews") == 1
    kept = promote(second, passed(), expected=1)
    assert not kept.moved
    assert "explicit `athanor promote`" in kept.reason
    assert registry.alias("reviews") == 1
    moving.force("reviews", 2, "the fault was elsewhere")
    assert registry.alias("reviews") == 2
    assert not history.rolled_back("reviews", 2)


def test_rolling_back_twice_goes_two_versions_back(versions):
    for seed in range(3):
        promote(versions[seed], passed(), expected=seed or None)
    assert moving.rollback("reviews").version == 2
    assert moving.rollback("reviews").version == 1
    with pytest.raises(UsageError, match="knows no champion before v1"):
        moving.rollback("reviews")
    assert registry.alias("reviews") == 1


def test_forcing_needs_a_reason_and_a_version(versions):
    with pytest.raises(UsageError, match="needs a reason"):
        moving.force("reviews", 1, " ")
    with pytest.raises(UsageError, match="no version 9"):
        moving.force("reviews", 9, "why not")


def test_a_damaged_version_never_becomes_champion(versions, shared):
    first, second, *_ = versions
    promote(first, passed(), expected=None)
    graph = shared / "bundles" / second.bundle / "model.onnx"
    graph.write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        promote(second, passed(), expected=1)
    assert registry.alias("reviews") == 1
    shutil.rmtree(graph.parent)  # as the error says: it is fetched again
    assert promote(second, passed(), expected=1).moved
