"""The ledger in a database: one transaction with the alias, for all who race and die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from components import history, mlflow_store
from components.errors import IntegrityError, ServiceUnreachable, UsageError
from components.history import chain, database
from components.registry import glance
from pipelines import shelf
from tests.history import postgres, promoters
from tests.history.registry import NAME, a_registry, move, sql

KILLED = """
import os, signal
from components.history import database
from tests.history.registry import move
real = getattr(database, {point!r})
def die(*arguments):
    real(*arguments)
    if {kill}:
        os.kill(os.getpid(), signal.SIGKILL)
setattr(database, {point!r}, die)
move(2, 1)
"""


def test_entries_are_numbered_and_chained(home):
    a_registry(home)
    move(1, None)
    events = history.history(NAME)
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [event.before for event in events[1:]] == [event.sha256 for event in events[:-1]]
    assert all(chain.content_digest(event) == event.sha256 for event in events)
    assert events[-1].evidence == {"p_value": 0.01}
    assert "@" in events[-1].who
    assert history.names() == (NAME,)
    assert sql(home, "SELECT value FROM registered_model_tags") == [(f"4 {events[-1].sha256}",)]


def test_a_clock_that_was_set_back_does_not_turn_the_order_around(home):
    a_registry(home, versions=1)
    state = history.ledger().read(NAME)
    draft = chain.Draft(event="judged", version=1, who="me@here")
    early = datetime(2020, 1, 1, tzinfo=UTC)
    assert chain.sealed(NAME, state, draft, early).at == state.events[-1].at


def test_who_was_champion_when(home):
    a_registry(home)
    before = datetime.now(UTC)
    time.sleep(0.01)
    move(1, None)
    between = datetime.now(UTC)
    time.sleep(0.01)
    move(2, 1)
    events = history.history(NAME)
    assert history.at(events, before) is None
    assert history.at(events, between).version == 1
    assert history.at(events, datetime.now(UTC)).version == 2
    east = between.astimezone(datetime.now().astimezone().tzinfo) + timedelta(0)
    assert shelf.held(NAME, east.isoformat()).champion == 1
    today = shelf.held(NAME, f"{datetime.now():%Y-%m-%d}")
    assert (today.champion, today.entry.number) == (2, 5)
    yesterday = shelf.held(NAME, f"{datetime.now() - timedelta(days=1):%Y-%m-%d}")
    assert shelf.held_text(yesterday).endswith("no champion yet")
    assert " 23:59:59 " in shelf.held_text(yesterday)
    for wrong, words in (("spring", "no date or time"), ("9999-01-01", "still to come")):
        with pytest.raises(UsageError, match=words):
            shelf.held(NAME, wrong)


@pytest.mark.parametrize("kill", [True, False])
@pytest.mark.parametrize("point", ["_point", "write"])
def test_a_kill_inside_leaves_neither_alias_nor_entry(home, point, kill):
    a_registry(home)
    move(1, None)
    before = history.ledger().read(NAME)
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(point=point, kill=kill)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == (-signal.SIGKILL if kill else 0), done.stderr
    state, found = history.verify(NAME)
    assert found == ()
    assert (state == before) is kill
    assert state.champion == (1 if kill else 2)


def test_of_eight_promoters_one_wins(home):
    """Three rounds of eight processes, on the SQLite file that all of them open."""
    a_registry(home)
    with multiprocessing.get_context("fork").Pool(promoters.MANY) as pool:
        for _ in range(3):
            promoters.demand_one_winner(NAME, promoters.a_round(pool, NAME, 3))
    assert history.verify(NAME)[1] == ()


def test_without_the_comparison_all_win(home):
    """The control: what MLflow's own alias does."""
    a_registry(home)
    with multiprocessing.get_context("fork").Pool(promoters.MANY) as pool:
        told = pool.map(_last_writer_wins, [2, 3] * 4, chunksize=1)
    assert told.count("won") == promoters.MANY


def _last_writer_wins(version: int) -> str:
    from components import mlflow_store

    for _ in range(5):  # two first settings of one alias collide
        try:
            mlflow_store.client().set_registered_model_alias(NAME, "champion", str(version))
            return "won"
        except Exception:  # noqa: BLE001
            time.sleep(0.1)
    return "refused"


@pytest.mark.slow
def test_the_same_on_postgresql(home, tmp_path, monkeypatch):
    with postgres.running(tmp_path) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        postgres.a_registry(uri, NAME, 3)
        with multiprocessing.get_context("fork").Pool(promoters.MANY) as pool:
            for _ in range(3):
                promoters.demand_one_winner(NAME, promoters.a_round(pool, NAME, 3))
        state, found = history.verify(NAME)
        assert found == ()
        postgres.sql(uri, "UPDATE athanor_history SET why = 'x' WHERE number = 5")
        assert [one.entry for one in history.verify(NAME)[1]] == [5]
        assert history.ledger().key not in ("home", "")
        assert state.champion in (1, 2, 3)
        assert glance.champion(NAME) == state.champion
        assert glance.champion("another") is None
    with pytest.raises(ServiceUnreachable, match="does not answer"):
        glance.champion(NAME)


def pages_of_noise(path):
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\x07" * (len(content) - 4096))


DAMAGES = {
    "pages of noise": pages_of_noise,
    "a text in its place": lambda path: path.write_text("no database\n" * 1000),
}


@pytest.mark.parametrize("way", DAMAGES)
def test_a_damaged_database_is_named_in_one_line(home, way):
    """Also where this process looked at it before, and found it whole."""
    a_registry(home)
    assert len(history.history(NAME)) == 3
    assert glance.champion(NAME) is None
    DAMAGES[way](home / "mlflow" / "mlflow.db")
    asked = (
        lambda: history.history(NAME),
        lambda: database.versions(mlflow_store.tracking_uri(), NAME),
        lambda: glance.champion(NAME),
        lambda: history.record(NAME, "judged", 1),
    )
    for ask in asked:
        with pytest.raises(IntegrityError, match=r"mlflow\.db.* is damaged.*restore") as caught:
            ask()
        assert caught.value.exit_code == 6


def test_a_database_is_named_without_place_and_password():
    one, other = "postgresql://me:secret@host/one", "postgresql://me:other@host/one"
    assert database.identity(one) == database.identity(f"athanor+{other}")
    assert database.identity(one) != database.identity("postgresql://me:secret@host/two")
    assert "secret" not in database.identity(one)


@pytest.mark.slow
def test_a_server_needs_nothing_but_mlflows_own_libraries(tmp_path):
    """The image of the team's server has no torch, no Prefect and no Optuna."""
    code = (
        "import sys\n"
        "for name in ('torch', 'prefect', 'optuna', 'onnx', 'dvc', 'great_expectations'):\n"
        "    sys.modules[name] = None\n"
        "from components.mlflow_server import app, store\n"
        "print(app.create_app().title, store.GuardedStore.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.split()[-1:] == ["GuardedStore"], done.stderr
